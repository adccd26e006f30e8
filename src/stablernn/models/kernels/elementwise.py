"""Recurrences in which every unit depends on its own past alone."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Recurrence(torch.autograd.Function):
    """With a_t = ∂φ/∂y at step t, the gradients by all y obey δ_t = ∂L/∂y_t + a_{t+1} δ_{t+1}.

    All a_t come of one call of φ on all steps at once, as the Jacobian is diagonal, and so do the gradients by p and w.
    The δ follow one after the other, for products of the a_t, which a scan would need, may overflow where δ does not.
    """

    @staticmethod
    def forward(ctx, step: Callable[..., Tensor], projected: Tensor, initial: Tensor, *weights: Tensor) -> Tensor:
        y, states = initial, []
        for p in projected.unbind(0):
            y = step(p, y, *weights)
            states.append(y)
        stacked = torch.stack(states)
        ctx.step = step
        ctx.save_for_backward(projected, initial, stacked, *weights)
        return stacked

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        projected, initial, states, *weights = ctx.saved_tensors
        before = torch.cat([initial[None], states[:-1]])
        with torch.enable_grad():
            p, y, *w = (part.detach().requires_grad_() for part in (projected, before, *weights))
            image = ctx.step(p, y, *w)
        (slopes,) = torch.autograd.grad(image, y, torch.ones_like(image), retain_graph=True)
        deltas = grads[0].clone()
        for t in range(len(deltas) - 1, 0, -1):
            deltas[t - 1].addcmul_(slopes[t], deltas[t])
        by_projected, *by_weights = torch.autograd.grad(image, (p, *w), deltas)
        return None, by_projected, slopes[0] * deltas[0], *by_weights


def recurrence(step: Callable[..., Tensor], projected: Tensor, initial: Tensor, *weights: Tensor) -> Tensor:
    """y_1, ..., y_T of y_t = φ(p_t, y_{t-1}; w), where y_t,j depends on no other unit of y_{t-1}.

    The plain loop, without a graph of its steps; the gradient takes one further product a step.

    Args:
        step: φ(p (..., G), y (..., D), *w) -> (..., D), elementwise in y.
        projected: p, (T, ..., G).
        initial: y_0, (..., D).
        weights: w, all that φ has a gradient by beside p and y.

    Returns:
        (T, ..., D), differentiable once by p, y_0 and w.
    """
    return _Recurrence.apply(step, projected, initial, *weights)  # type: ignore[return-value]
