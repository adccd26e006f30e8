"""The scalar system h_t = w h_{t-1} + x_t, learned by gradient descent from |w| < 1 at many step sizes (claim C7).

With white inputs half the expected squared error after T inputs is p(w) = Σ_{j<T} (w^j - w*^j)² / 2. Where |w*| < 1 its
curvature stays bounded as T grows, and gradient descent with a fitting step size ends at w*. Where |w*| > 1 the
curvature at w* grows like w*^{2T}, while the gradient at a start with |w w*| < 1 does not grow at all: with a step size
small enough to stay at w* it takes exponentially many steps to come there, and with a larger one it does not stay.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from stablernn.analysis.linear.descent import step_sizes
from stablernn.utils.errors import ConfigurationError


@dataclass(frozen=True)
class ScalarStudy:
    """Gradient descent at a grid of constant step sizes, for each w*.

    Args:
        targets: w*.
        start: the first w.
        length: T.
        steps: of gradient descent.
        smallest, largest: powers of ten of the step sizes.
        per_decade: step sizes between two powers of ten.
        tolerance: a descent has reached w* where it ends within it.
    """

    targets: tuple[float, ...]
    start: float
    length: int
    steps: int
    smallest: int
    largest: int
    per_decade: int
    tolerance: float
    kind: ClassVar[str] = "scalar"

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        for option in ("length", "steps", "per_decade"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"scalar.{option}={getattr(self, option)} must be a whole number >= 1")
        if self.smallest > self.largest:
            raise ConfigurationError(f"scalar.smallest={self.smallest} must be at most scalar.largest={self.largest}")

    def settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        common = {key: value for key, value in asdict(self).items() if key != "targets"}
        for target in self.targets:
            yield f"{self.kind}-{float(target)}", common | {"kind": self.kind, "target": target}

    def __call__(self, options: dict[str, Any]) -> dict[str, Any]:
        target = options["target"]
        rates = step_sizes(self.smallest, self.largest, self.per_decade)
        final = descend_scalar(target, self.start, self.length, rates, self.steps)
        ends = [value if abs(value) < float("inf") else None for value in final.tolist()]
        reached = [end is not None and abs(end - target) <= self.tolerance for end in ends]
        return {"rates": rates.tolist(), "end": ends, "reached": reached}


def descend_scalar(target: float, start: float, length: int, rates: torch.Tensor, steps: int) -> torch.Tensor:
    """w after gradient descent on p at each of the step sizes; not finite where it diverged."""
    j = torch.arange(length, dtype=torch.float64)
    wanted = target**j
    w = torch.full_like(rates, start)
    for _ in range(steps):
        powers = torch.ones(len(w), length, dtype=torch.float64)
        powers[:, 1:] = w[:, None]
        powers = powers.cumprod(1)
        slopes = torch.zeros_like(powers)
        slopes[:, 1:] = j[1:] * powers[:, :-1]
        gradient = ((powers - wanted) * slopes).sum(1)
        w = w - rates * gradient
    return w
