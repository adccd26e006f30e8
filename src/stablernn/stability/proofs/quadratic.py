"""Quadratic norms in which a tanh-RNN contracts, with the weights that suit its matrix best.

For s the steepest slopes and A = diag(s) W two states that differ by δ differ after a step by q, with q_j between 0 and
(A δ)_j.

- A diagonal P (D'Amico et al., arXiv 2210.09721): AᵀPA <= λ²P, that is ‖B‖_2 <= λ for B = P^½ A P^-½.
- A full P (Revay & Manchester, arXiv 1912.10402, 2104.05942): as q_j ((A δ)_j - q_j) >= 0, every such q keeps to
  qᵀPq <= λ² δᵀPδ where, for some diagonal Λ > 0,

      [[λ²P, -AᵀΛ], [-ΛA, 2Λ - P]] >= 0.

  P = Λ is the condition above. In the coordinates Λ^½ δ it reads [[λ²P, -Bᵀ], [-B, 2I - P]] >= 0 with B = Λ^½ A Λ^-½.
  By a theorem of Ando (1973) there is such a P exactly if the numerical radius w(B) = max |v*Bv|, over complex unit
  vectors v, is at most λ. So Λ alone is searched for, and how much a full P can gain is known: w(B) lies between
  ‖B‖_2 / 2 and ‖B‖_2, and never below the spectral radius of A. The least and the greatest P follow from the greatest
  solutions of X + BᵀX⁻¹B / λ² = 2I and of the same with Bᵀ, which cyclic reduction finds in a few products (Meini
  2002); the mean of the two has eigenvalues from 1/2 to 3/2.

log ‖B‖_2 and log w(B) are convex in log Λ. The method of centres brings them down: for a λ above the least one known it
minimizes the logarithmic barrier of the condition, -log det(I - BᵀB / λ²), or -log det X, which is the mean of
-log det(I - Re(e^iθ B) / λ) over all angles θ. What is found is checked afterwards: no proof rests on the search.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stablernn.models.cells.state import RNNState, State
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.proofs.norms import OUTWARD, StateNorm, up
from stablernn.stability.proofs.rates import spectral_radius

# λ of a centre lies above the least one known by such a part of it; one centre follows the other.
_GAPS = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
_STEPS = 60  # towards a centre
_FARTHEST = 12.0  # |log Λ| / 2 of a unit
_DOUBLINGS = 60
_CONVERGED = 1e-14
_RAISES = (0.0, *(10.0**power for power in range(-9, -1)))  # of λ, relative, until a P passes its check

Barrier = Callable[[Tensor], tuple[float, Tensor] | None]


@dataclass(frozen=True)
class QuadraticNorm(StateNorm):
    """‖s‖² = gᵀPg with g = w ⊙ h, and P >= I, so that ‖g‖_2 <= ‖s‖: bounds of a state by ``weights`` hold too.

    Attributes:
        matrix: P (D, D), float64, symmetric.
        largest: a bound of its eigenvalues.
        multiplier: Λ, in the coordinates g; 2 Λ - P is positive definite.
    """

    matrix: Tensor
    largest: float
    multiplier: float

    def __call__(self, state: State) -> Tensor:
        scaled = state.h * self.weights.h
        return ((scaled @ self.matrix) * scaled).sum(-1).clamp_min(0).sqrt()

    def over(self, box: State) -> float:
        return math.sqrt(self.largest) * super().over(box)


def best_weights(matrix: Tensor) -> Iterator[Tensor]:
    """Weights w (D,) of norms ‖w ⊙ h‖_2, each with a lesser ‖diag(w) A diag(w)⁻¹‖_2 than the one before."""

    def size(balanced: Tensor, gap: float, high: float) -> float:
        return spectral_norm(balanced)

    for _, logs in _centres(_norm_barrier, matrix, size):
        yield logs.exp()


def full_norms(matrix: Tensor) -> Iterator[tuple[float, QuadraticNorm]]:
    """λ, rounded outward, and the norm in which diag(d) A contracts at this rate for any d in [0, 1]; λ falls."""
    least = spectral_radius(matrix)

    def size(balanced: Tensor, gap: float, high: float) -> float:
        norm = spectral_norm(balanced)
        low, high = max(norm / 2, least, 1e-100), min(norm * (1 + OUTWARD), high)
        while high > low * (1 + gap / 5):
            middle = math.sqrt(low) * math.sqrt(high)
            low, high = (low, middle) if _solutions(balanced / middle) is not None else (middle, high)
        return high

    for rate, logs in _centres(_radius_barrier, matrix, size):
        weights = logs.exp()
        balanced = weights[:, None] * matrix / weights
        found = _solutions(balanced / rate)
        if found is None:
            continue
        p = _identity(matrix) + (found.of_transposed - found.of_matrix) / 2
        p = (p + p.T) / 2
        proven = next((up(rate * (1 + more)) for more in _RAISES if _contracts(balanced, p, rate * (1 + more))), None)
        smallest, largest = (float(edge) for edge in torch.linalg.eigvalsh(p)[[0, -1]])
        if proven is None or smallest < OUTWARD:
            continue
        smallest *= 1 - OUTWARD
        state = RNNState(weights * math.sqrt(smallest))
        yield proven, QuadraticNorm(2, state, p / smallest, up(largest / smallest), 1 / smallest)


def _contracts(balanced: Tensor, p: Tensor, rate: float) -> bool:
    """Whether [[λ²P, -Bᵀ], [-B, 2I - P]] > 0, by more than float64 rounds its eigenvalues by."""
    identity = _identity(p)
    whole = torch.cat([torch.cat([rate**2 * p, -balanced.T], 1), torch.cat([-balanced, 2 * identity - p], 1)])
    if not bool(whole.isfinite().all()):
        return False
    values = torch.linalg.eigvalsh(whole)
    return float(values[0]) > OUTWARD * float(values[-1])


def _identity(like: Tensor) -> Tensor:
    return torch.eye(len(like), dtype=like.dtype, device=like.device)


class _Solutions(NamedTuple):
    """The greatest X of X + AᵀX⁻¹A = 2I, and of X + AX⁻¹Aᵀ = 2I."""

    of_matrix: Tensor
    of_transposed: Tensor


def _solutions(a: Tensor) -> _Solutions | None:
    """By cyclic reduction; None unless the numerical radius of A (D, D) is below 1."""
    q = 2 * _identity(a)
    first = second = q
    for _ in range(_DOUBLINGS):
        factor, info = torch.linalg.cholesky_ex(q)
        if int(info):
            return None
        left, right = (torch.linalg.solve_triangular(factor, side, upper=False) for side in (a, a.T))
        from_first, from_second = left.T @ left, right.T @ right
        first, second, q = first - from_first, second - from_second, q - from_first - from_second
        if float(from_first.abs().max()) < _CONVERGED:
            return _Solutions(first, second)
        a = right.T @ left
    return None


def _norm_barrier(a: Tensor) -> tuple[float, Tensor] | None:
    """-log det(I - AᵀA), and N such that it moves by 2 tr(N dA); None if ‖A‖_2 >= 1."""
    factor, info = torch.linalg.cholesky_ex(_identity(a) - a.T @ a)
    if int(info):
        return None
    return -2 * float(factor.diagonal().log().sum()), torch.cholesky_solve(a.T, factor)


def _radius_barrier(a: Tensor) -> tuple[float, Tensor] | None:
    """-log det X, and N such that it moves by 2 tr(N dA); None if the numerical radius of A is not below 1.

    With F = X⁻¹A it is dX - FᵀdX F = -dAᵀF - FᵀdA, so N = Y Fᵀ for Y = Σ_n F^n X⁻¹ (F^n)ᵀ.
    """
    found = _solutions(a)
    if found is None:
        return None
    factor, info = torch.linalg.cholesky_ex(found.of_matrix)
    if int(info):
        return None
    f = power = torch.cholesky_solve(a, factor)
    y = torch.cholesky_inverse(factor)
    for _ in range(_DOUBLINGS):
        y = y + power @ y @ power.T
        power = power @ power
        if float(power.abs().max()) < _CONVERGED:
            break
    return -2 * float(factor.diagonal().log().sum()), y @ f.T


def _centres(
    barrier: Barrier, matrix: Tensor, size: Callable[[Tensor, float, float], float]
) -> Iterator[tuple[float, Tensor]]:
    """λ and log Λ / 2 of one centre after the other, as far as λ falls.

    Args:
        barrier: of A, finite where the size of A is below 1.
        matrix: A (D, D).
        size: of e^x A e^-x from above, to within a relative gap; given another bound of it.
    """
    if not bool(matrix.any()):
        return
    x = matrix.new_zeros(len(matrix))
    rate = least = size(matrix, _GAPS[-1], math.inf)
    if not math.isfinite(rate):
        return
    yield rate, x
    for gap in _GAPS:
        x = _centre(barrier, matrix, rate * (1 + gap), x)
        rate = size(x.exp()[:, None] * matrix / x.exp(), gap, rate * (1 + gap))
        if rate < least:
            least = rate
            yield rate, x


def _centre(barrier: Barrier, matrix: Tensor, rate: float, start: Tensor) -> Tensor:
    """The x (D,) at which the barrier of e^x A e^-x / λ is least, from one at which it is finite."""
    from scipy.optimize import minimize  # here, as it takes a third of a second

    def value(logs: np.ndarray) -> tuple[float, np.ndarray]:
        scales = torch.from_numpy(logs).to(matrix).exp()
        a = scales[:, None] * matrix / scales / rate
        found = barrier(a) if np.abs(logs).max() < _FARTHEST else None
        if found is None:
            return math.inf, np.zeros_like(logs)
        return found[0], (2 * ((a * found[1].T).sum(1) - (found[1] * a.T).sum(1))).cpu().numpy()

    at_start = start.cpu().numpy()
    if not math.isfinite(value(at_start)[0]):
        return start
    with np.errstate(invalid="ignore"):  # steps out of the domain, whose value is infinite
        found = minimize(value, at_start, jac=True, method="BFGS", options={"maxiter": _STEPS})
    return torch.from_numpy(found.x).to(matrix) if math.isfinite(found.fun) else start
