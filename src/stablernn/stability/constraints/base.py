"""Constraints: sets of weights on which a cell is stable, and the way back onto them after an update.

A constraint projects one cell in place and can be asked for the norms that it bounds. ``inputs`` is the table of
all vectors that the cell can see, the embedding (V, E): a finite set, so a bound on the input may be imposed on it
directly. Upper layers pass None; what they see is a hidden state, and |h| <= 1.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stablernn.models.backbone import recurrent_layers
from stablernn.models.cells.base import Cell
from stablernn.models.sequence_model import SequenceModel
from stablernn.utils.errors import ConfigurationError, NotApplicableError

_TURNS = 10  # of cells that read the same words


def checked_limit(limit: float) -> float:
    """A λ that a constraint imposes; raises ConfigurationError unless it lies in (0, 1)."""
    if not 0 < limit < 1:
        raise ConfigurationError(f"stability.constraint.limit={limit} must lie in (0, 1)")
    return limit


def checked_every(every: int) -> int:
    """Updates from one projection to the next; raises ConfigurationError unless there is one at least."""
    if every < 1:
        raise ConfigurationError(f"stability.constraint.every={every} must be a whole number >= 1")
    return every


def spectral_norm(matrix: Tensor) -> float:
    """‖W‖_2, the largest singular value, in float64; infinite where W is not finite."""
    if not bool(matrix.isfinite().all()):
        return math.inf
    return float(two_norm(matrix.detach().double()))


def two_norm(matrix: Tensor) -> Tensor:
    """‖W‖_2, in the precision of W, as the root of the largest eigenvalue of its Gram matrix.

    That one is right to rounding, as an SVD's is, which takes a GPU many times as long.
    """
    return torch.linalg.eigvalsh(matrix.T @ matrix)[-1].clamp_min(0).sqrt()


def infinity_norm(matrix: Tensor) -> float:
    """‖W‖_∞, the largest ℓ1 norm of a row, in float64."""
    return float(matrix.detach().double().abs().sum(1).max())


class Constraint(ABC):
    """A set of cells.

    Attributes:
        cell_type: the kind of cell that it is made for.
        every: updates from one projection to the next; training also projects before it scores.
        rate: λ that it enforces; None where it sets none.
        synchronizes: whether a projection reads a number on a GPU too, so that the device waits for the host.
    """

    cell_type: type[Cell] = Cell
    every: int = 1
    rate: float | None = None
    synchronizes: bool = False

    def check(self, cell: Cell) -> None:
        """Raises ConfigurationError if this constraint is not made for this kind of cell."""
        if not isinstance(cell, self.cell_type):
            raise ConfigurationError(
                f"stability.constraint {type(self).__name__} is for {self.cell_type.__name__}, "
                f"and the cell of the model is {type(cell).__name__}: choose another stability= or model="
            )

    @abstractmethod
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        """Move the cell (and its inputs (V, E), where they are bounded) onto the set, in place."""

    def norms(self, cell: Cell) -> dict[str, float]:
        """The norms of the cell's recurrent matrices, by name, in float64."""
        return {
            name: value
            for block, matrix in cell.recurrent_blocks().items()
            for name, value in (
                (f"‖{block}‖_2", spectral_norm(matrix)),
                (f"‖{block}‖_∞", infinity_norm(matrix)),
            )
        }


class Unconstrained(Constraint):
    """Every cell."""

    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        pass


def constrained_cells(model: SequenceModel) -> Iterable[tuple[Cell, Tensor | None]]:
    """Each cell of the model with the table of its possible inputs.

    None above the first layer, and where the model reads frames with entries in [-1, 1]: |x| <= 1 is all that a
    constraint takes for granted.

    Raises:
        NotApplicableError: the model has no cells, or no constraint applies to them.
    """
    if reason := model.backbone.unconstrained:
        raise NotApplicableError(f"not applicable: {reason}")
    for layer, cells in enumerate(recurrent_layers(model.backbone)):
        for cell in cells:
            yield cell, model.inputs.weight if layer == 0 and isinstance(model.inputs, nn.Embedding) else None


def check(constraint: Constraint, model: SequenceModel) -> None:
    """Refuse a constraint that is not made for the model.

    Raises:
        ConfigurationError: it is made for other cells.
        NotApplicableError: the model has no cells, or no constraint applies to them.
    """
    if not isinstance(constraint, Unconstrained):
        for cell, _ in constrained_cells(model):
            constraint.check(cell)


@torch.no_grad()  # a constraint may write in place without a word about gradients
def project(constraint: Constraint, model: nn.Module) -> None:
    """Apply ``constraint`` to every cell of ``model`` in place; a model without cells may be unconstrained.

    Where cells read the same words, what one of them asks of these may undo what another one did: they take turns, as
    projections on one convex set after the other come to a point in all of them.
    """
    assert isinstance(model, SequenceModel)
    if isinstance(constraint, Unconstrained):
        return
    cells = list(constrained_cells(model))
    shared = [inputs for _, inputs in cells if inputs is not None][1:]
    for _ in range(_TURNS if shared else 1):
        before = [inputs.clone() for inputs in shared if not inputs.is_cuda]
        for cell, inputs in cells:
            constraint.project(cell, inputs)
        if before and all(map(torch.equal, before, shared)):
            return
