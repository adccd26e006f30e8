"""The GRU."""

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.models.kernels.scan import linear_scan
from stablernn.models.kernels.truncated import Parts, layered


class GatedRecurrentUnit:
    """h' = (1 - z) ⊙ n + z ⊙ h with n = tanh(n_x + r ⊙ m); gates in the order r, z, m, n_x, the last blind to h."""

    parts = 1

    def forward(self, gates: Tensor, before: Parts) -> Parts:
        r, z, m, n = gates.chunk(4, dim=-1)
        gates[..., : 2 * r.shape[-1]].sigmoid_()
        n.addcmul_(r, m).tanh_()
        return (torch.lerp(n, before[0], z),)

    def backward(self, gates: Tensor, before: Parts, after: Parts, grads: Parts) -> tuple[Tensor, tuple[Tensor]]:
        r, z, m, n = gates.chunk(4, dim=-1)
        (grad_h,) = grads
        direct = grad_h * z
        result = torch.empty_like(gates)
        grad_r, grad_z, grad_m, grad_n = result.chunk(4, dim=-1)
        sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        tanh_backward.grad_input(grad_h - direct, n, grad_input=grad_n)
        sigmoid_backward.grad_input(grad_n * m, r, grad_input=grad_r)
        sigmoid_backward.grad_input(grad_h * (before[0] - n), z, grad_input=grad_z)
        torch.mul(grad_n, r, out=grad_m)
        return result, (direct,)


class GRUCell(Cell):
    """The GRU as PyTorch and cuDNN have it, the reset gate after the recurrent product::

        r, z = σ(W_• h + U_• x + b_•),   n = tanh(U_n x + b_n + r ⊙ (W_n h + b_hn))
        h' = (1 - z) ⊙ n + z ⊙ h

    The rows of the parameters are stacked in the order r, z, n. b_hn is a part of the step and not of the input
    product, as the reset gate multiplies it.
    """

    GATES = ("r", "z", "n")
    state_type = RNNState
    bounded = True
    torch_layer = nn.GRU

    @property
    def reset_bias(self) -> Tensor:
        """b_hn (D,), a view."""
        return self.bias_hh[2 * self.hidden_size :]

    def input_biases(self) -> tuple[Tensor, Tensor]:
        gates = self.bias_hh[: 2 * self.hidden_size]
        return self.bias_ih, torch.cat([gates, torch.zeros_like(self.reset_bias)])

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        z, n = self._gates(projected, state.h)
        return RNNState(torch.lerp(n, state.h, z))

    def _gates(self, projected: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z and n."""
        d = self.hidden_size
        recurrent = h @ self.weight_hh.T
        r, z = torch.sigmoid(projected[..., : 2 * d] + recurrent[..., : 2 * d]).chunk(2, dim=-1)
        return z, torch.tanh(projected[..., 2 * d :] + r * (recurrent[..., 2 * d :] + self.reset_bias))

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        y, h = torch.gru(x, state.h[None].contiguous(), weights, True, 1, 0.0, self.training, False, False)
        return y, RNNState(h[0])

    def newton(self, projected: Tensor, before: RNNState, initial: RNNState) -> tuple[RNNState, RNNState]:
        """Gates at the old h; then h' = (1 - z) n + z h is linear in h and solved exactly: ∂h'/∂h = z but for W_•."""
        z, n = self._gates(projected, before.h)
        return RNNState(torch.lerp(n, before.h, z)), RNNState(linear_scan(z, (1 - z) * n, initial.h))

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        """By the kernel, which takes b_hn as the input of a gate of its own, so that it has its gradient."""
        seeing, n = projected.split(2 * self.hidden_size, dim=-1)
        gates = torch.cat([seeing, self.reset_bias.expand_as(n), n], dim=-1)
        return layered(gates, self.weight_hh, k, outputs, GatedRecurrentUnit(), recompute)
