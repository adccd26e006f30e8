"""The largest distance of two rows of a matrix."""

import math

import torch
from torch import Tensor

from stablernn.stability.proofs.norms import OUTWARD

_EXACT_PAIRS = 2048  # among so few rows all distances are computed


def diameter(rows: Tensor, p: float, exact: bool = True) -> float:
    """A bound of the largest distance of two rows (N, D) in the p-norm; ``exact`` tries to find it itself.

    Two rows lie apart by no more than their distances from the middle add up to. So with a pair that lies apart by d,
    no row nearer to the middle than d - (the largest such distance) can belong to a pair farther apart, and those left
    are few. Where they are not, the sum of the two largest distances from the middle stands.
    """
    if len(rows) < 2:
        return 0.0
    radii = torch.linalg.vector_norm(rows - rows.mean(0), ord=p, dim=1)
    if not bool(radii.isfinite().all()):
        return math.inf
    first, second = (float(value) for value in radii.topk(2).values)
    if not exact:
        return first + second
    far, largest = int(radii.argmax()), 0.0
    for _ in range(3):
        distances = torch.linalg.vector_norm(rows - rows[far], ord=p, dim=1)
        largest, far = max(largest, float(distances.max())), int(distances.argmax())
    # Where the two farthest lie on opposite sides of the middle, rounding may put their distance above the sum.
    outer = rows[radii >= (largest - first) - OUTWARD * first]
    if len(outer) > _EXACT_PAIRS:
        return first + second
    pairs = torch.cdist(outer, outer, p=p, compute_mode="donot_use_mm_for_euclid_dist")
    return max(largest, float(pairs.max()))
