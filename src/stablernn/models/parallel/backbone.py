"""The recurrent model, exactly, by iteration over all positions at once instead of steps through time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State
from stablernn.models.parallel.iterations import ITERATIONS
from stablernn.models.parallel.residuals import Contracting
from stablernn.models.parallel.solver import Effort, Solver
from stablernn.models.recurrent import Recurrent
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.wording import counted


class ParallelInTime(Recurrent):
    """The recurrent model, evaluated by iteration: the weights, the state and the result are those of ``Recurrent``.

    Each layer is solved for the whole window before the next. An iteration has no gradient of its own, so where
    gradients are recorded or dropout is active (training) the window is run step by step, as ``Recurrent`` does.

    Args:
        cells: the stack.
        dropout: rate between the layers.
        iteration: a name in ``ITERATIONS``.
        chunk, tolerance, max_iterations: see ``Solver``. Errors are counted from the start of a window: what a
            contractive cell is handed wrong it forgets.
        proofs: for each cell what is proven of it; None: nothing of any.

    Attributes:
        efforts: of the last window that was evaluated by iteration, by layer and chunk.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        dropout: float = 0.0,
        *,
        iteration: str = "newton",
        chunk: int = 1024,
        tolerance: float = 1e-5,
        max_iterations: int = 100,
        proofs: Sequence[Contracting | None] | None = None,
    ) -> None:
        super().__init__(cells, dropout)
        if iteration not in ITERATIONS:
            raise ConfigurationError(f"iteration={iteration} does not exist: choose {' or '.join(ITERATIONS)}")
        if proofs is not None and len(proofs) != len(cells):
            raise ConfigurationError(
                f"{counted(len(proofs), 'proof')} for {counted(len(cells), 'cell')}: give one, or None, for each cell"
            )
        self.solver = Solver(ITERATIONS[iteration], chunk, tolerance, max_iterations)
        self.proofs = list(proofs) if proofs is not None else [None] * len(cells)
        self.efforts: list[Effort] = []

    def forward(self, x: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        if self.training or torch.is_grad_enabled():
            return super().forward(x, state)
        final, efforts = [], []
        for layer, (cell, before, proof) in enumerate(zip(self.cells, state, self.proofs, strict=True)):
            x, after, took = self.solver(cell, x, before, proof, layer)
            final.append(after)
            efforts += took
        self.efforts = efforts
        return x, tuple(final)
