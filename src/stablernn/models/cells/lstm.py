"""The LSTM."""

from collections.abc import Mapping

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import LSTMState
from stablernn.models.kernels.truncated import LongShortTerm, layered


class LSTMCell(Cell):
    """The LSTM without peepholes::

        i, f, o = σ(W_• h + U_• x + b_•),   z = tanh(W_z h + U_z x + b_z)
        c' = f ⊙ c + i ⊙ z,                 h' = o ⊙ tanh(c')

    The rows of the parameters are stacked in the order i, f, z, o.
    """

    GATES = ("i", "f", "z", "o")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=4)

    def zeros(self, *axes: int) -> LSTMState:
        zeros = self.weight_hh.new_zeros(*axes, self.hidden_size)
        return LSTMState(zeros, zeros)

    def step(self, projected: Tensor, state: LSTMState) -> LSTMState:
        i, f, z, o = (projected + state.h @ self.weight_hh.T).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(z)
        return LSTMState(torch.sigmoid(o) * torch.tanh(c), c)

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {f"W_{gate}": block for gate, block in zip(self.GATES, self.weight_hh.chunk(4), strict=True)}

    def input_blocks(self) -> Mapping[str, Tensor]:
        """The input-to-hidden matrices (D, E) by name, as views that can be written to."""
        return {f"U_{gate}": block for gate, block in zip(self.GATES, self.weight_ih.chunk(4), strict=True)}

    def sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        initial = [part[None].contiguous() for part in state]
        y, h, c = torch.lstm(x, initial, weights, True, 1, 0.0, self.training, False, False)
        return y, LSTMState(h[0], c[0])

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        return layered(projected, self.weight_hh, k, outputs, LongShortTerm(), recompute)
