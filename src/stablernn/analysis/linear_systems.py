"""Linear systems with the spectral norm of W below and above 1: full against truncated gradient descent (claim C7).

A student learns the W of a teacher, h_t = W h_{t-1} + U x_t, y_t = C h_t, by projected gradient descent on the expected
squared error at the end of T inputs; a truncated student sees the last k inputs. The expectation is taken exactly, from
M_j = C W^j U and the covariance of the inputs, so no data are drawn. Two kinds of steps: α/n, for which
``linear_bound`` has a proof, where ‖W‖_2 < 1; and the best of many constant ones, for what can be learned at all.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from stablernn.analysis.analyse import stored
from stablernn.analysis.linear_bound import Bound, Norms
from stablernn.errors import ConfigurationError
from stablernn.files import write_json
from stablernn.record import commit, versions

_POINTS = 15  # of a curve that are kept


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
        w: of the teacher, all singular values of it equal, (d, d).
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
        cls, norm: float, size: int, inputs: int, outputs: int, length: int, correlation: float, seed: int
    ) -> "System":
        """A random one whose outputs have mean square 1.

        Args:
            norm: ‖W‖_2; every mode of W decays, or grows, at this rate.
            size, inputs, outputs: d, e, o.
            length: T.
            correlation: Γ_st = correlation^|s-t|.
            seed: of W, U and C.
        """
        generator = torch.Generator().manual_seed(seed)
        w, u, c = (orthogonal(size, generator) for _ in range(3))
        steps = torch.arange(length, dtype=torch.float64)
        root = torch.linalg.cholesky(correlation ** (steps[:, None] - steps).abs())
        system = cls(norm * w, u[:, :inputs], c[:outputs], root, norm)
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
        found = responses(w, self.u, self.c, self.length) * seen[..., None, None]
        return self.error(found - responses(self.w, self.u, self.c, self.length))

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
    kept = {steps, *torch.logspace(0, math.log10(steps), _POINTS).round().int().tolist()}
    result: dict[str, Any] = {"updates": [], "error": [], "distance": [], "bound": []}
    for number, alpha in enumerate(alphas, 1):
        full = system.errors(weights[-1], wanted)
        bound.step(alpha, full[-1], full[:-1])
        weights = _update(system, weights, wanted, alpha)
        if number in kept:
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


class Study(Protocol):
    """Settings, and what is computed for each.

    Attributes:
        kind: the names of its results begin with it.
    """

    kind: ClassVar[str]

    def settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """A name and all that changes the result."""
        ...

    def __call__(self, options: dict[str, Any]) -> dict[str, Any]: ...


def carry_out(
    studies: Sequence[Study], folder: Path, fresh: bool = False, on_setting: Callable[[int], None] = lambda done: None
) -> list[Path]:
    """Compute what is not in the folder yet, a JSON for each setting; those of other settings make room.

    Args:
        studies: whose settings.
        folder: of the results.
        fresh: compute again what is there.
        on_setting: called with the number of settings done, for a progress bar.
    """
    written = []
    for study in studies:
        for name, options in study.settings():
            path = folder / f"{name}.json"
            if fresh or stored(path, options) is None:
                result = {"options": options} | study(options)
                write_json(path, result | {"versions": versions(), "commit": commit()})
            written.append(path)
            on_setting(len(written))
    for path in (path for study in studies for path in folder.glob(f"{study.kind}-*.json")):
        if path not in written:
            path.unlink()
    return written


@dataclass(frozen=True)
class MatrixStudy:
    """Full against truncated gradient descent, for each norm and seed.

    Args:
        norms: ‖W‖_2 of the teacher.
        seeds: of teacher and start.
        lengths: the k.
        length: T.
        size, inputs, outputs: of state, x and y.
        correlation: of inputs that are next to each other.
        rate: of the step sizes α/n, see ``proven_steps``.
        smallest, largest: powers of ten of the constant step sizes.
        per_decade: of these, between two powers of ten.
        steps: of gradient descent.
    """

    norms: tuple[float, ...]
    seeds: tuple[int, ...]
    lengths: tuple[int, ...]
    length: int
    size: int
    inputs: int
    outputs: int
    correlation: float
    rate: float
    smallest: int
    largest: int
    per_decade: int
    steps: int
    kind: ClassVar[str] = "matrix"

    def __post_init__(self) -> None:
        for option in ("norms", "seeds", "lengths"):
            object.__setattr__(self, option, tuple(getattr(self, option)))
        for option in ("length", "size", "inputs", "outputs", "per_decade", "steps"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"matrix.{option}={getattr(self, option)} must be a whole number >= 1")
        for option in ("inputs", "outputs"):
            if getattr(self, option) > self.size:
                raise ConfigurationError(f"matrix.{option}={getattr(self, option)} must be at most matrix.size")
        if not all(1 <= k < self.length for k in self.lengths):
            raise ConfigurationError(f"matrix.lengths={list(self.lengths)} must lie in [1, {self.length})")
        if not all(norm > 0 for norm in self.norms):
            raise ConfigurationError(f"matrix.norms={list(self.norms)} must be positive")
        if not 0 <= self.correlation < 1:
            raise ConfigurationError(f"matrix.correlation={self.correlation} must lie in [0, 1)")
        if not self.rate > 0:
            raise ConfigurationError(f"matrix.rate={self.rate} must be a positive number")
        if self.smallest > self.largest:
            raise ConfigurationError(f"matrix.smallest={self.smallest} must be at most matrix.largest={self.largest}")

    def settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        common = {key: value for key, value in asdict(self).items() if key not in ("norms", "seeds")}
        for norm in self.norms:
            for seed in self.seeds:
                own = {"kind": self.kind, "norm": norm, "seed": seed, "lengths": list(self.lengths)}
                yield f"{self.kind}-{float(norm)}-s{seed}", common | own

    def __call__(self, options: dict[str, Any]) -> dict[str, Any]:
        norm, seed = options["norm"], options["seed"]
        system = System.make(norm, self.size, self.inputs, self.outputs, self.length, self.correlation, seed)
        start = norm / 2 * orthogonal(self.size, torch.Generator().manual_seed(seed + 2**20))
        proven = proven_steps(system.norms, self.rate, self.steps)
        alphas = step_sizes(self.smallest, self.largest, self.per_decade)
        errors = fit(system, start, alphas, self.steps)
        best = int(errors.nan_to_num(torch.inf).argmin())
        return {
            "proven": descend(system, start, self.lengths, proven) if norm < 1 else None,
            "best": descend(system, start, self.lengths, [float(alphas[best])] * self.steps),
            "step_sizes": alphas.tolist(),
            "errors": errors.tolist(),
            "best_step_size": float(alphas[best]),
        }
