"""The paper's condition on an LSTM, and the one that was coded."""

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.stability.constraints.base import Constraint, infinity_norm
from stablernn.utils.errors import ConfigurationError

# Weights are float32: what is put exactly on a limit rounds to either side of it. So it is put this little
# inside, and the bound holds in exact arithmetic on the weights as they are stored.
_INSIDE = 1 - 1e-6


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


class LSTMAsCoded(Constraint):
    """What code published by the paper's first author in September 2018 does at every step. It proves nothing.

    The *columns* of the recurrent blocks and of U_f are scaled to fixed ℓ1 norms, **also when they are below**, and the
    embedding is clamped to [-1, 1]. So the 1-norm of each block is fixed where the proof needs a bound of its ∞-norm,
    and
    the biases are free: with f, i and o near 1 the state zero repels its neighbours at rate f + eigenvalue of W_z,
    up to 1 + ``recurrent_update``.

    Args:
        recurrent_forget, recurrent_gates, recurrent_update: column sums of |W_f|, of |W_i| and |W_o|, of |W_z|.
        input_forget: column sums of |U_f|.
        input_bound: the embedding is clamped to it.
    """

    cell_type = LSTMCell

    def __init__(
        self,
        recurrent_forget: float = 0.155,
        recurrent_gates: float = 0.395,
        recurrent_update: float = 0.099,
        input_forget: float = 0.25,
        input_bound: float = 1.0,
    ) -> None:
        for option, value in list(locals().items()):
            if option != "self" and option != "__class__" and value <= 0:
                raise ConfigurationError(f"stability.constraint.{option}={value} must be positive")
        self.recurrent = {
            "W_i": recurrent_gates,
            "W_f": recurrent_forget,
            "W_z": recurrent_update,
            "W_o": recurrent_gates,
        }
        self.input_forget = input_forget
        self.input_bound = input_bound

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, LSTMCell)
        for name, block in cell.recurrent_blocks().items():
            _set_columns(block, self.recurrent[name])
        _set_columns(cell.input_blocks()["U_f"], self.input_forget)
        if inputs is not None:
            inputs.clamp_(-self.input_bound, self.input_bound)


def _limit_rows(matrix: Tensor, limit: float) -> None:
    """Scale back every row whose ℓ1 norm exceeds ``limit``."""
    sums = matrix.double().abs().sum(1, keepdim=True)
    scale = torch.where(sums > limit, limit * _INSIDE / sums, 1.0)
    matrix.copy_(matrix.double() * scale)


def _set_columns(matrix: Tensor, total: float) -> None:
    """Scale every column to the ℓ1 norm ``total``; one of zeros stays."""
    sums = matrix.abs().sum(0)
    matrix.mul_(torch.where(sums > 0, total / sums, 1.0))
