"""Rates λ of contraction: the least that holds, others above it, and the weights of the norms that go with them."""

import heapq
import math
from collections.abc import Callable, Sequence
from graphlib import TopologicalSorter

import torch
from torch import Tensor

from stablernn.stability.proofs.norms import OUTWARD

LEAST_MARGIN = 1e-9  # a λ nearer to 1 than this counts as 1
MOST_PLACES = 8  # of a cascade: so many leave weights that float64 can square
_BISECTIONS = 30
# λ may be chosen above the least one: a little slack makes the weights of the norm, and so H, far smaller.
_SLACKS = (1e-3, 1e-2, 0.03, 0.1, 0.2, 0.4)


def least_rate(above: float, holds: Callable[[float], bool]) -> float | None:
    """The least rate in (above, 1) for which a condition holds that, once true, stays so as the rate grows."""
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
    if not room > 0:
        return None
    weights = weights / (room * (1 - OUTWARD))
    return weights if bool(weights.isfinite().all()) else None


def spectral_radius(matrix: Tensor) -> float:
    """Of a matrix without symmetry; on the CPU, where it takes a fraction of the time that cuSOLVER does."""
    return float(torch.linalg.eigvals(matrix.cpu()).abs().max()) if bool(matrix.isfinite().all()) else math.inf


def levels(matrix: Tensor) -> Tensor:
    """The place of each unit in the cascade that the zeros of a matrix (D, D) make: (D,), from 0.

    Row j of the matrix is what unit j depends on. Units that depend on each other, over however many others, share a
    place; one that depends on a unit which does not depend on it comes later. Weights of a norm that fall fast from
    place to place make the gain of the whole as near as one likes to that of the largest loop within a place.
    """
    return torch.unique(_dependence(matrix).sum(1), return_inverse=True)[1]


def order(matrix: Tensor) -> list[list[int]]:
    """The units of a matrix, those that depend on each other together, and after all others that they depend on.

    Of what may come next, the units with the least number come first. So units that were laid out as a cascade of
    consecutive groups stay in it, whatever zeros lie inside a group.
    """
    depends = _dependence(matrix) > 0
    each_other = depends & depends.T
    first = each_other.int().argmax(1)  # of the units with which one shares a place, the least
    members = {int(unit): each_other[unit].nonzero()[:, 0].tolist() for unit in first.unique()}
    needed = {unit: set(first[depends[unit]].tolist()) - {unit} for unit in members}
    sorter = TopologicalSorter(needed)
    sorter.prepare()
    ready: list[int] = []
    result = []
    while sorter.is_active():
        for unit in sorter.get_ready():
            heapq.heappush(ready, unit)
        unit = heapq.heappop(ready)
        result.append(members[unit])
        sorter.done(unit)
    return result


def merged_places(ordered: Sequence[list[int]], together: Callable[[list[int]], bool]) -> Tensor | None:
    """The place of each unit (D,), from 0, where neighbours in an order share a place as long as they may.

    Args:
        ordered: see ``order``.
        together: whether units may share a place; if so, fewer of them may too.

    Returns:
        None if some units that depend on each other may not, or more than ``MOST_PLACES`` places are left.
    """
    places = torch.zeros(sum(map(len, ordered)), dtype=torch.long)
    start = 0
    for place in range(MOST_PLACES):
        low, high = start, len(ordered)  # those up to low may share a place
        while low < high:
            middle = (low + high + 1) // 2
            if together([unit for units in ordered[start:middle] for unit in units]):
                low = middle
            else:
                high = middle - 1
        if low == start:
            return None
        places[[unit for units in ordered[start:low] for unit in units]] = place
        start = low
        if start == len(ordered):
            return places
    return None


def _dependence(matrix: Tensor) -> Tensor:
    """1 where unit j depends on another, over however many others, or is that other; 0 elsewhere: (D, D)."""
    depends = (matrix != 0).fill_diagonal_(True).to(matrix.dtype)
    for _ in range(len(matrix).bit_length()):  # over 2, 4, 8, ... others
        depends = (depends @ depends > 0).to(matrix.dtype)
    return depends
