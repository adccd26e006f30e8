"""Gradient descent on a linear system and its truncations, with the expectation over the inputs taken exactly.

A student learns the W of a teacher, h_t = W h_{t-1} + U x_t, y_t = C h_t, by projected gradient descent on the expected
squared error at the end of T inputs; a truncated student sees the last k inputs. The expectation follows from
M_j = C W^j U and the covariance of the inputs, so no data are drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stablernn.analysis.linear.bound import Bound, Norms

_POINTS = 15  # of a curve that are recorded
_HALVINGS = 60  # to the last bits of a float64


def responses(w: Tensor, u: Tensor, c: Tensor, length: int) -> Tensor:
    """M_j = C W^j U for j = 0 .. T-1: W (..., d, d), U (d, e), C (o, d) -> (..., T, o, e)."""
    powers = torch.eye(w.shape[-1], dtype=w.dtype).expand(*w.shape[:-2], 1, -1, -1)
    factor = w  # to the power of as many as there are
    while powers.shape[-3] < length:
        powers = torch.cat([powers, powers @ factor[..., None, :, :]], dim=-3)
        factor = factor @ factor
    return c @ powers[..., :length, :, :] @ u


@dataclass(frozen=True)
class System:
    """A teacher, and what its students know of it.

    Attributes:
        w: of the teacher, (d, d).
        u, c: of teacher and students, (d, e) and (o, d).
        root: L with L L^T = Γ, (T, T).
        radius: ‖W‖_2 of the teacher; students stay within it.
    """

    w: Tensor
    u: Tensor
    c: Tensor
    root: Tensor
    radius: float

    @classmethod
    def make(
        cls,
        norm: float,
        size: int,
        inputs: int,
        outputs: int,
        length: int,
        correlation: float,
        seed: int,
        spectral_radius: float | None = None,
    ) -> "System":
        """A random one whose outputs have mean square 1.

        Args:
            norm: ‖W‖_2.
            size, inputs, outputs: d, e, o.
            length: T.
            correlation: Γ_st = correlation^|s-t|.
            seed: of W, U and C.
            spectral_radius: of a W that is not normal, below its norm; None: W is orthogonal but for its scale, so
                that every mode of it decays, or grows, at the rate of the norm.
        """
        generator = torch.Generator().manual_seed(seed)
        w, u, c = (orthogonal(size, generator) for _ in range(3))
        steps = torch.arange(length, dtype=torch.float64)
        root = torch.linalg.cholesky(correlation ** (steps[:, None] - steps).abs())
        teacher = norm * w if spectral_radius is None else _non_normal(w, norm, spectral_radius, generator)
        system = cls(teacher, u[:, :inputs], c[:outputs], root, norm)
        scale = system.error(responses(system.w, system.u, system.c, length))
        return cls(system.w, system.u, system.c / scale, root, norm)

    @property
    def length(self) -> int:
        return len(self.root)

    @property
    def norms(self) -> Norms:
        def spectral(matrix: Tensor) -> float:
            return float(torch.linalg.matrix_norm(matrix, ord=2))

        frobenius = float(torch.linalg.matrix_norm(self.u))
        covariance = spectral(self.root) ** 2
        return Norms(self.radius, len(self.w), spectral(self.c), spectral(self.u), frobenius, covariance, self.length)

    def error(self, residual: Tensor) -> Tensor:
        """‖r‖_Γ: (..., T, o, e) -> (...)."""
        return torch.einsum("ts,...toe->...soe", self.root, residual).flatten(-3).norm(dim=-1)

    def errors(self, w: Tensor, lengths: Tensor) -> Tensor:
        """‖r_k‖_Γ, the root mean square error of the output, for weights (..., K, d, d) or (d, d) and K lengths."""
        seen = torch.arange(self.length) < lengths[:, None]
        result = responses(w, self.u, self.c, self.length) * seen[..., None, None]
        return self.error(result - responses(self.w, self.u, self.c, self.length))

    def project(self, w: Tensor) -> Tensor:
        """The nearest matrices with ‖W‖_2 <= radius; those that are within stay as they are, to the last bit."""
        left, values, right = torch.linalg.svd(w, full_matrices=False)
        nearest = left * values.clamp_max(self.radius)[..., None, :] @ right
        return torch.where(values[..., :1, None] > self.radius, nearest, w)


def step_sizes(smallest: int, largest: int, per_decade: int) -> Tensor:
    """Evenly spaced in the logarithm from 10^smallest to 10^largest."""
    return torch.logspace(smallest, largest, (largest - smallest) * per_decade + 1, dtype=torch.float64)


def orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """A random orthogonal matrix, (d, d)."""
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q


def _non_normal(basis: Tensor, norm: float, spectral_radius: float, generator: torch.Generator) -> Tensor:
    """Q (ρ I + N) Q^T of norm ‖.‖_2, N strictly upper triangular: ρ is the only eigenvalue, what exceeds it passes."""
    size = len(basis)
    eye = torch.eye(size, dtype=torch.float64)
    upper = torch.randn(size, size, generator=generator, dtype=torch.float64).triu(1)
    upper = upper / torch.linalg.matrix_norm(upper, ord=2)
    few, many = max(norm - spectral_radius, 0.0), norm + spectral_radius  # the norm of N lies between, ‖ρ I‖ being ρ
    for _ in range(_HALVINGS):
        middle = (few + many) / 2
        if torch.linalg.matrix_norm(spectral_radius * eye + middle * upper, ord=2) < norm:
            few = middle
        else:
            many = middle
    return basis @ (spectral_radius * eye + few * upper) @ basis.T


def descend(system: System, start: Tensor, lengths: Sequence[int], alphas: Sequence[float]) -> dict[str, Any]:
    """Projected gradient descent on the full model and on each truncation of it, side by side, with the bound.

    Args:
        system: the teacher.
        start: the students' first W, within the radius.
        lengths: the k.
        alphas: step sizes α_1, ..., α_N.

    Returns:
        By update: error (mean square error of the output over the teacher's mean square) of the full model, distance
        ‖W - W_k‖_F and bound of each k. At the end: truncated_error of each k; width: what any two matrices in the
        ball are within.
    """
    wanted = torch.tensor([*lengths, system.length])
    bound = Bound(system.norms, wanted[:-1])
    weights = start.expand(len(wanted), -1, -1)
    steps = len(alphas)
    recorded = {steps, *torch.logspace(0, math.log10(steps), _POINTS).round().int().tolist()}
    result: dict[str, Any] = {"updates": [], "error": [], "distance": [], "bound": []}
    for number, alpha in enumerate(alphas, 1):
        full = system.errors(weights[-1], wanted)
        bound.step(alpha, full[-1], full[:-1])
        weights = _update(system, weights, wanted, alpha)
        if number in recorded:
            result["updates"].append(number)
            result["error"].append(float(system.errors(weights[-1:], wanted[-1:]).square()))
            result["distance"].append((weights[:-1] - weights[-1]).norm(dim=(1, 2)).tolist())
            result["bound"].append(bound.distance.tolist())
    result["truncated_error"] = system.errors(weights, wanted)[:-1].square().tolist()
    return result | {"width": bound.width}


def fit(system: System, start: Tensor, alphas: Tensor, steps: int) -> Tensor:
    """The error of the full model after gradient descent at each of several constant step sizes."""
    weights = start.expand(len(alphas), -1, -1)
    whole = torch.full((len(alphas),), system.length)
    for _ in range(steps):
        weights = _update(system, weights, whole, alphas[:, None, None])
    return system.errors(weights, whole).square()


def _update(system: System, weights: Tensor, lengths: Tensor, alpha: Tensor | float) -> Tensor:
    """One projected step of several models, each by itself."""
    weights = weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(system.errors(weights, lengths).square().sum() / 2, [weights])
    return system.project(weights.detach() - alpha * gradient)


def proven_steps(norms: Norms, rate: float, steps: int) -> list[float]:
    """α_n = α / n, as the theorem asks for, with α = rate / (g c u s1)².

    (g c u s1)² bounds the curvature of a full model without error, see ``linear_bound``.
    """
    bound = Bound(norms, torch.tensor([norms.length]))
    return [rate / float(bound.g * bound.slope) ** 2 / n for n in range(1, steps + 1)]
