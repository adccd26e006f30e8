"""The tanh-RNN."""

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.models.kernels.scan import linear_scan
from stablernn.models.kernels.tanh import tanh_recurrence
from stablernn.models.kernels.truncated import Tanh


class RNNCell(Cell):
    """h' = tanh(W h + U x + b) (Elman 1990), λ-contractive with λ = ‖W‖_2, as tanh is 1-Lipschitz (Miller & Hardt).

    W is ``weight_hh`` (D, D), U ``weight_ih`` (D, E), and b (D,) the sum of ``bias_ih`` and ``bias_hh``.
    """

    GATES = ("",)
    state_type = RNNState
    bounded = True
    activation = Tanh()
    torch_layer = nn.RNN

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        return RNNState(torch.tanh(projected + state.h @ self.weight_hh.T))

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        y = tanh_recurrence(self.project_inputs(x), state.h, self.weight_hh)
        return y, RNNState(y[-1])

    def newton(self, projected: Tensor, before: RNNState, initial: RNNState) -> tuple[RNNState, RNNState]:
        """J_t = (1 - h²) diag(W), kept within [-1, 1] as is h: no guess grows, however wrong.

        What it neglects, W off its diagonal, is nearly all of a W without structure; then it is no faster than Jacobi.
        """
        image = self.step(projected, before)
        slopes = ((1 - image.h * image.h) * self.weight_hh.diagonal()).clamp(-1, 1)
        h = linear_scan(slopes, image.h - slopes * before.h, initial.h)
        return image, RNNState(h.clamp(-1, 1))
