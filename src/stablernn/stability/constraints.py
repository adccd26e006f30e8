"""Constraints: sets of weights on which a cell is stable, and the way back onto them after an update.

A constraint projects one cell in place and can be asked for the norms that it bounds. ``inputs`` is the table of
all vectors that the cell can see, the embedding (V, E): a finite set, so a bound on the input may be imposed on it
directly. Upper layers pass None; what they see is a hidden state, and |h| <= 1.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stablernn.errors import ConfigurationError
from stablernn.models.cells import Cell, LSTMCell, RNNCell
from stablernn.models.language_model import SequenceModel

# Weights are float32: what is put exactly on a limit rounds to either side of it. So it is put this little
# inside, and the bound holds in exact arithmetic on the weights as they are stored.
_INSIDE = 1 - 1e-6
# The same for singular values, which float32 knows to some 1e-6. It is squared where they are found and not where they
# are tested, so what was projected once passes the test with as much to spare on either side.
_SPECTRAL_INSIDE = 1 - 6e-6


def spectral_norm(matrix: Tensor) -> float:
    """‖W‖_2, the largest singular value, in float64."""
    return float(torch.linalg.matrix_norm(matrix.detach().double(), ord=2))


def infinity_norm(matrix: Tensor) -> float:
    """‖W‖_∞, the largest ℓ1 norm of a row, in float64."""
    return float(matrix.detach().double().abs().sum(1).max())


class Constraint(ABC):
    """A set of cells."""

    cell_type: type[Cell] = Cell

    def check(self, cell: Cell) -> None:
        """Raises ConfigurationError if this constraint is not made for this kind of cell."""
        if not isinstance(cell, self.cell_type):
            raise ConfigurationError(
                f"stability.constraint {type(self).__name__} constrains a {self.cell_type.__name__}, "
                f"and the model has a {type(cell).__name__}; choose another stability= or model="
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


class SpectralNormBall(Constraint):
    """‖W‖_2 <= limit: then the tanh-RNN is limit-contractive in the 2-norm, as tanh is 1-Lipschitz.

    The projection is the Euclidean one: singular values are clipped at the limit, singular vectors kept.

    Args:
        limit: λ, in (0, 1).
    """

    cell_type = RNNCell

    def __init__(self, limit: float = 0.999) -> None:
        if not 0 < limit < 1:
            raise ConfigurationError(f"stability.constraint.limit={limit} must lie in (0, 1)")
        self.limit = limit

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        weight = cell.recurrent_blocks()["W"]
        gram = weight.T @ weight
        # b² I - W^T W is positive definite exactly when ‖W‖_2 < b, and a Cholesky factorisation, ten times cheaper
        # than an eigendecomposition, tells.
        margin = -gram
        margin.diagonal().add_(self.limit**2 * _SPECTRAL_INSIDE)
        if int(torch.linalg.cholesky_ex(margin).info) == 0:
            return
        matrix = weight
        eigenvalues, vectors = torch.linalg.eigh(gram)
        if eigenvalues[-1] > 4 * self.limit**2:
            # So far outside that float32 would lose the values near the limit beside the largest.
            matrix = weight.double()
            eigenvalues, vectors = torch.linalg.eigh(matrix.T @ matrix)
        bound = self.limit * _SPECTRAL_INSIDE
        singular = eigenvalues.clamp_min(0).sqrt()
        vectors = vectors[:, singular > bound]
        shrink = bound / singular[singular > bound] - 1
        weight.copy_(matrix + (matrix @ vectors * shrink) @ vectors.T)


class LSTMStated(Constraint):
    """The paper's sufficient condition for a stable LSTM (Miller & Hardt 2018, section 2.2).

    With f_∞ a bound on the forget gate, ‖W_i‖_∞, ‖W_o‖_∞ < 1 - f_∞, ‖W_z‖_∞ <= (1 - f_∞) / 4 and
    ‖W_f‖_∞ < (1 - f_∞)² make the r-step map contractive for some r = O(log D). Here the bound
    f_∞ <= σ(‖W_f‖_∞ + ‖U_f‖_∞ B_x + max b_f) is imposed by a limit on each of its terms.

    Rows beyond a limit are scaled back to it, rows within it stay untouched.

    Args:
        recurrent_forget: limit of ‖W_f‖_∞.
        input_forget: limit of ‖U_f‖_∞ B_x, the reach of the inputs into the forget gate.
        bias_forget: limit of b_f.
        input_bound: B_x; the embedding is clamped to it. Upper layers see |h| <= 1 and need no clamp.
        recurrent_gates: limit of ‖W_i‖_∞ and ‖W_o‖_∞.
        recurrent_update: limit of ‖W_z‖_∞.
    """

    cell_type = LSTMCell

    def __init__(
        self,
        recurrent_forget: float = 0.128,
        input_forget: float = 0.1875,
        bias_forget: float = 0.25,
        input_bound: float = 0.75,
        recurrent_gates: float = 0.36,
        recurrent_update: float = 0.09,
    ) -> None:
        limits = dict(locals())
        for option in (
            "recurrent_forget",
            "input_forget",
            "input_bound",
            "recurrent_gates",
            "recurrent_update",
        ):
            if limits[option] <= 0:
                raise ConfigurationError(f"stability.constraint.{option}={limits[option]} must be positive")
        forget = float(torch.sigmoid(torch.tensor(recurrent_forget + input_forget + bias_forget, dtype=torch.float64)))
        for option, bound, text in (
            ("recurrent_gates", 1 - forget, "1 - f_∞"),
            ("recurrent_update", (1 - forget) / 4, "(1 - f_∞) / 4"),
            ("recurrent_forget", (1 - forget) ** 2, "(1 - f_∞)²"),
        ):
            if limits[option] >= bound:
                raise ConfigurationError(
                    f"stability.constraint.{option}={limits[option]} must be below {text} = {bound:.4f}, "
                    f"where f_∞ = σ(recurrent_forget + input_forget + bias_forget) = {forget:.4f}"
                )
        self.forget_bound = forget
        self.recurrent_forget = recurrent_forget
        self.input_forget = input_forget
        self.bias_forget = bias_forget
        self.input_bound = input_bound
        self.recurrent_gates = recurrent_gates
        self.recurrent_update = recurrent_update

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, LSTMCell)
        recurrent = cell.recurrent_blocks()
        for gate, limit in (
            ("i", self.recurrent_gates),
            ("f", self.recurrent_forget),
            ("z", self.recurrent_update),
            ("o", self.recurrent_gates),
        ):
            _limit_rows(recurrent[f"W_{gate}"], limit)
        reach = 1.0 if inputs is None else self.input_bound
        _limit_rows(cell.input_blocks()["U_f"], self.input_forget / reach)
        if inputs is not None:
            inputs.clamp_(-reach, reach)
        d = cell.hidden_size
        biases = cell.bias_ih[d : 2 * d], cell.bias_hh[d : 2 * d]
        excess = biases[0].double() + biases[1].double() - self.bias_forget
        margin = torch.finfo(cell.bias_ih.dtype).eps * (1 + biases[0].abs() + biases[1].abs())
        # Only the sum of the two biases matters; halving the excess is the nearest point.
        half = torch.where(excess > 0, (excess + margin) / 2, 0.0)
        for bias in biases:
            bias.copy_(bias - half)

    def norms(self, cell: Cell) -> dict[str, float]:
        assert isinstance(cell, LSTMCell)
        d = cell.hidden_size
        bias = (cell.bias_ih + cell.bias_hh)[d : 2 * d].detach()
        return super().norms(cell) | {
            "‖U_f‖_∞": infinity_norm(cell.input_blocks()["U_f"]),
            "max b_f": float(bias.max()),
        }


def _limit_rows(matrix: Tensor, limit: float) -> None:
    """Scale back every row whose ℓ1 norm exceeds ``limit``."""
    sums = matrix.double().abs().sum(1, keepdim=True)
    scale = torch.where(sums > limit, limit * _INSIDE / sums, 1.0)
    matrix.copy_(matrix.double() * scale)


def constrained_cells(model: SequenceModel) -> Iterable[tuple[Cell, Tensor | None]]:
    """Each cell of the model with the table of its possible inputs (None above the first layer)."""
    for layer, cell in enumerate(model.backbone.cells):
        yield cell, model.inputs.weight if layer == 0 else None


def project(constraint: Constraint, model: nn.Module) -> None:
    """Apply ``constraint`` to every cell of ``model`` in place."""
    assert isinstance(model, SequenceModel)
    for cell, inputs in constrained_cells(model):
        constraint.project(cell, inputs)
