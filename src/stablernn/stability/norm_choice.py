"""Which of the norms in which a cell contracts is the best: by what a difference moves at the head, and how long.

What a layer moves is known from the last one downwards: the head by its decoder, the layers below by what they move the
states above. A norm that suits a lower layer alone may have weights with which these are huge.
"""

import math
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stablernn.models.heads.base import Head
from stablernn.stability.diameter import diameter
from stablernn.stability.proofs.norms import OUTWARD, Contraction


def best(candidates: Sequence[Contraction], spread: Callable[[Contraction, bool], float]) -> tuple[Contraction, float]:
    """The contraction that needs the fewest steps until what it moves, by ``spread``, is a hundredth of a nat."""
    proven = [candidate for candidate in candidates if candidate.holds]
    if not proven:
        return min(candidates, key=lambda candidate: candidate.rate), math.inf

    def steps(candidate: Contraction) -> float:
        start = times(candidate.radius, spread(candidate, False)) / 0.01
        return math.log(max(start, 1.0)) / -math.log(max(candidate.rate, sys.float_info.min))  # W = 0 has the rate 0

    best = min(proven, key=steps)
    return best, spread(best, True)


def alike(candidate: Contraction, exact: bool) -> float:
    """The same of all candidates, where nothing is known of the layers above."""
    return 1.0


def moved_head(head: Head, candidate: Contraction, exact: bool, direction: int, directions: int) -> float:
    """D_V in the dual norm of a contraction's.

    Of several directions the features have equal parts, and D_V is of the columns of one.
    """
    norm = candidate.norm
    assert norm is not None

    def largest(rows: Tensor) -> float:
        return diameter(norm.readout(rows.chunk(directions, dim=1)[direction]), norm.dual, exact)

    return head.sensitivity(largest) * (1 + OUTWARD)


def moved_above(
    above: Sequence[tuple[Contraction, float]], candidate: Contraction, exact: bool, direction: int
) -> float:
    """What a state of norm 1 moves, through the cells above that read it, each with what it moves itself."""
    assert candidate.norm is not None
    reach = 1 / candidate.norm.weights.h
    parts = [torch.zeros_like(reach) for _ in above]
    parts[direction] = reach
    return sum(times(moved, cell.input_gain(torch.cat(parts))) for cell, moved in above)


def times(factor: float, value: float) -> float:
    """The product, infinite where one of the bounds is: nothing is known of what it bounds."""
    return factor * value if math.isfinite(factor) and math.isfinite(value) else math.inf
