"""Rates λ of contraction: the least that holds, others above it, and the weights of the norms that go with them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stablernn.stability.contractions import OUTWARD

LEAST_MARGIN = 1e-9  # no λ nearer to 1 than this is told from 1
MOST_PLACES = 8  # of a cascade: so many leave weights that float64 can square
_BISECTIONS = 30
# λ may be chosen above the least one: a little slack makes the weights of the norm, and so H, far smaller.
_SLACKS = (1e-3, 1e-2, 0.03, 0.1, 0.2, 0.4)


def least_rate(above: float, holds: Callable[[float], bool]) -> float | None:
    """The least rate in (above, 1) for which a condition holds that goes on holding as the rate grows."""
    high = 1 - LEAST_MARGIN
    if above >= high or not holds(high):
        return None
    low = above
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle <= above or high - low < 1e-6 * (1 - high):
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def rates(least: float) -> Sequence[float]:
    """The least one, and some above it."""
    return [least, *(least + slack * (1 - least) for slack in _SLACKS)]


def perron(matrix: Tensor, rate: float) -> Tensor | None:
    """Weights w > 0 with matrix w <= rate w - 1 (matrix nonnegative), checked; None if the spectral radius is above."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    weights, info = torch.linalg.solve_ex(rate * identity - matrix, matrix.new_ones(len(matrix)))
    if int(info) or not bool((weights > 0).all()) or not bool(weights.isfinite().all()):
        return None
    room = float((rate * weights - (matrix @ weights) * (1 + OUTWARD)).min())
    return weights / (room * (1 - OUTWARD)) if room > 0 else None


def spectral_radius(matrix: Tensor) -> float:
    """Of a matrix without symmetry; on the CPU, where it takes a fraction of the time that cuSOLVER does."""
    return float(torch.linalg.eigvals(matrix.cpu()).abs().max())


def levels(matrix: Tensor) -> Tensor:
    """The place of each unit in the cascade that the zeros of a matrix (D, D) make: (D,), from 0.

    Row j of the matrix is what unit j hears. Units that hear each other, over however many others, share a place; one
    that hears a unit it is not heard by comes later. Weights of a norm that fall fast from place to place make the gain
    of the whole as near as one likes to that of the largest loop within a place.
    """
    hears = (matrix != 0).fill_diagonal_(True).to(matrix.dtype)
    for _ in range(len(matrix).bit_length()):  # over 2, 4, 8, ... others
        hears = (hears @ hears > 0).to(matrix.dtype)
    return torch.unique(hears.sum(1), return_inverse=True)[1]
