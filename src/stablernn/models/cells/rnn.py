"""The tanh-RNN."""

from collections.abc import Mapping

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.models.kernels.tanh import tanh_recurrence
from stablernn.models.kernels.truncated import Tanh, layered


class RNNCell(Cell):
    """h' = tanh(W h + U x + b), λ-contractive with λ = ‖W‖_2, as tanh is 1-Lipschitz."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=1)

    def zeros(self, *axes: int) -> RNNState:
        return RNNState(self.weight_hh.new_zeros(*axes, self.hidden_size))

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        return RNNState(torch.tanh(projected + state.h @ self.weight_hh.T))

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {"W": self.weight_hh}

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        y = tanh_recurrence(self.project_inputs(x), state.h, self.weight_hh)
        return y, RNNState(y[-1])

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        return layered(projected, self.weight_hh, k, outputs, Tanh(), recompute)
