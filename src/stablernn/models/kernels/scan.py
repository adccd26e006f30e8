"""Linear recurrences with a diagonal matrix, many steps at a time."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 16  # steps one after the other on each level; so few products of factors below 1 stay above underflow


def linear_scan(factors: Tensor, terms: Tensor, initial: Tensor) -> Tensor:
    """y_1, ..., y_T of y_t = a_t ⊙ y_{t-1} + b_t.

    Blocks of 16 steps are run side by side from zero, together with the products of their factors; the states at the
    ends of the blocks follow the same kind of recurrence, 16 times as short; and each block is then corrected for the
    state that it started from (Blelloch 1990, prefix sums, with wider blocks, as a kernel call costs more than a few
    operations). So there are about 32 log_16 T calls where the plain loop makes T.

    Args:
        factors: a, (T, ...). Where products of them overflow, so does the result, even if y itself would stay finite.
        terms: b, (T, ...).
        initial: y_0, (...).

    Returns:
        (T, ...). Not differentiable.
    """
    states = torch.empty_like(terms)
    whole = len(terms) // _BLOCK * _BLOCK
    y = initial
    if whole > _BLOCK:
        a, b = (part[:whole].unflatten(0, (-1, _BLOCK)) for part in (factors, terms))
        local, products = torch.empty_like(b), torch.empty_like(b)
        local[:, 0], products[:, 0] = b[:, 0], a[:, 0]
        for step in range(1, _BLOCK):
            torch.addcmul(b[:, step], a[:, step], local[:, step - 1], out=local[:, step])
            torch.mul(a[:, step], products[:, step - 1], out=products[:, step])
        ends = linear_scan(products[:, -1], local[:, -1], initial)
        starts = torch.cat([initial[None], ends[:-1]])[:, None]
        torch.addcmul(local, products, starts, out=states[:whole].unflatten(0, (-1, _BLOCK)))
        y = ends[-1]
    else:
        whole = 0
    for t in range(whole, len(terms)):
        y = torch.addcmul(terms[t], factors[t], y, out=states[t])
    return states


class _Scan(torch.autograd.Function):
    """With δ_t the gradient by b_t, δ_t = ∂L/∂y_t + a_{t+1} δ_{t+1}, a recurrence of the same kind back in time."""

    @staticmethod
    def forward(ctx, factors: Tensor, terms: Tensor, initial: Tensor) -> Tensor:
        states = linear_scan(factors, terms, initial)
        ctx.save_for_backward(factors, states, initial)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        factors, states, initial = ctx.saved_tensors
        nothing = torch.zeros_like(initial)
        later = torch.cat([nothing[None], factors[1:].flip(0)])
        deltas = linear_scan(later, grads[0].flip(0), nothing).flip(0)
        before = torch.cat([initial[None], states[:-1]])
        return deltas * before, deltas, factors[0] * deltas[0]


def scan(factors: Tensor, terms: Tensor, initial: Tensor) -> Tensor:
    """``linear_scan``, differentiable once by all three: factors and terms (T, ...), the initial state (...)."""
    return _Scan.apply(factors, terms, initial)  # type: ignore[return-value]
