"""The LSTM whose forget gate is a constant."""

import copy
import math

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.state import LSTMState
from stablernn.utils.errors import ConfigurationError

_CERTAIN = 100.0  # σ of it is 1, in float64 too


class FixedForgetLSTMCell(Cell):
    """The LSTM with a number f in place of its forget gate::

        i, o = σ(W_• h + U_• x + b_•),   z = tanh(W_z h + U_z x + b_z)
        c' = f c + i ⊙ z,                h' = o ⊙ tanh(c')

    With f = 1 it is the LSTM before there was a forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins
    2000 added it): c adds up all that was ever written. So that it does not drift before anything is learnt, an input
    gate may begin nearly closed, with a negative bias (Hochreiter & Schmidhuber 1997). The rows are stacked in the
    order i, z, o.

    Args:
        input_size, hidden_size: E, D.
        forget: f, in (0, 1].
        input_bias: added to b_i as it is drawn.

    Raises:
        ConfigurationError: f lies elsewhere, or the bias is no number.
    """

    GATES = ("i", "z", "o")
    state_type = LSTMState
    bounded = True

    def __init__(self, input_size: int, hidden_size: int, forget: float = 1.0, input_bias: float = 0.0) -> None:
        if not 0 < forget <= 1:
            raise ConfigurationError(f"model.cell.forget={forget} must lie in (0, 1]")
        if not math.isfinite(input_bias):
            raise ConfigurationError(f"model.cell.input_bias={input_bias} must be a number")
        self.forget, self.input_bias = forget, input_bias
        super().__init__(input_size, hidden_size)

    @torch.no_grad()
    def initialise(self) -> None:
        super().initialise()
        self.bias_ih[: self.hidden_size] += self.input_bias

    def step(self, projected: Tensor, state: LSTMState) -> LSTMState:
        i, z, o = (projected + state.h @ self.weight_hh.T).chunk(3, dim=-1)
        c = self.forget * state.c + torch.sigmoid(i) * torch.tanh(z)
        return LSTMState(torch.sigmoid(o) * torch.tanh(c), c)

    def with_gate(self) -> list[Tensor]:
        """The parameters of the LSTM that computes the same: its forget gate has no weights, and the bias σ⁻¹(f)."""
        logit = _CERTAIN if self.forget == 1 else math.log(self.forget / (1 - self.forget))
        d, result = self.hidden_size, []
        for name, value in (("weight_ih", 0.0), ("weight_hh", 0.0), ("bias_ih", logit), ("bias_hh", 0.0)):
            part: Tensor = getattr(self, name)
            result.append(torch.cat([part[:d], part.new_full((d, *part.shape[1:]), value), part[d:]]))
        return result

    def sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        initial = [part[None].contiguous() for part in state]
        y, h, c = torch.lstm(x, initial, self.with_gate(), True, 1, 0.0, self.training, False, False)
        return y, LSTMState(h[0], c[0])

    @torch.no_grad()
    def as_lstm(self) -> LSTMCell:
        """That LSTM, in float64."""
        cell = LSTMCell(self.input_size, self.hidden_size).to(self.weight_ih.device, torch.float64)
        for parameter, value in zip(cell.parameters(), copy.deepcopy(self).double().with_gate(), strict=True):
            parameter.copy_(value)
        return cell
