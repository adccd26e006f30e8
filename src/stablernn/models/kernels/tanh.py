"""The tanh recurrence through time, with its gradient written out."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _TanhRecurrence(torch.autograd.Function):
    """h_t = tanh(W h_{t-1} + p_t): one product a step each way, and W's gradient as one product over all steps.

    With δ_t the gradient by p_t, δ_t = (∂L/∂h_t + W^T δ_{t+1}) ⊙ (1 - h_t²), and ∂L/∂W = Σ_t δ_t h_{t-1}^T.
    """

    @staticmethod
    def forward(ctx, projected: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
        states = torch.empty_like(projected)
        transposed = weight.T.contiguous()
        h = initial
        for p, out in zip(projected, states, strict=True):
            h = torch.addmm(p, h, transposed, out=out).tanh_()
        ctx.save_for_backward(states, initial, weight)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        states, initial, weight = ctx.saved_tensors
        (grad_states,) = grads
        slopes = 1 - states * states
        deltas = torch.empty_like(states)
        torch.mul(grad_states[-1], slopes[-1], out=deltas[-1])
        for t in range(len(states) - 2, -1, -1):
            torch.addmm(grad_states[t], deltas[t + 1], weight, out=deltas[t]).mul_(slopes[t])
        before = torch.cat([initial[None], states[:-1]])
        return deltas, deltas[0] @ weight, deltas.flatten(0, 1).T @ before.flatten(0, 1)


def tanh_recurrence(projected: Tensor, initial: Tensor, weight: Tensor) -> Tensor:
    """h_1, ..., h_T of h_t = tanh(W h_{t-1} + p_t).

    Args:
        projected: p, the input products U x_t + b, (T, B, D).
        initial: h_0, (B, D).
        weight: W, (D, D).

    Returns:
        (T, B, D). Differentiable once.
    """
    return _TanhRecurrence.apply(projected, initial, weight)  # type: ignore[return-value]
