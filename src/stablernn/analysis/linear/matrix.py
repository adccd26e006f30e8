"""Linear systems with the spectral norm of W below and above 1: full against truncated gradient descent (claim C7).

Teachers are orthogonal but for their scale, where norm and spectral radius are one, or not normal, with a norm above 1
and a radius below: these alone can show which of the two gradient descent depends on.

Two kinds of steps: α/n, for which ``linear_bound`` has a proof, where ‖W‖_2 < 1; and the best of many constant ones,
for what can be learned at all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from stablernn.analysis.linear.descent import System, descend, fit, orthogonal, proven_steps, step_sizes
from stablernn.analysis.runner import stored
from stablernn.records.schemas import check_linear
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.files import write_json
from stablernn.utils.provenance import commit, versions
from stablernn.utils.timing import one_thread


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


@one_thread()
def run_studies(
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
            if fresh or stored(path, options, check_linear) is None:
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
    """Full against truncated gradient descent, for each teacher and seed.

    Args:
        norms: ‖W‖_2 of orthogonal teachers.
        non_normal: (‖W‖_2, spectral radius) of the others.
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
    non_normal: tuple[tuple[float, float], ...]
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
        object.__setattr__(self, "non_normal", tuple(tuple(teacher) for teacher in self.non_normal))
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
        teachers = [list(teacher) for teacher in self.non_normal]
        if not all(len(teacher) == 2 and 0 < teacher[1] < teacher[0] for teacher in teachers):
            raise ConfigurationError(f"matrix.non_normal={teachers} must be pairs of a norm and a smaller radius > 0")
        if teachers and self.size < 2:
            raise ConfigurationError(f"matrix.size={self.size} must be at least 2: every 1 x 1 matrix is normal")
        if not 0 <= self.correlation < 1:
            raise ConfigurationError(f"matrix.correlation={self.correlation} must lie in [0, 1)")
        if not self.rate > 0:
            raise ConfigurationError(f"matrix.rate={self.rate} must be a positive number")
        if self.smallest > self.largest:
            raise ConfigurationError(f"matrix.smallest={self.smallest} must be at most matrix.largest={self.largest}")

    def settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        common = {key: value for key, value in asdict(self).items() if key not in ("norms", "non_normal", "seeds")}
        common |= {"kind": self.kind, "lengths": list(self.lengths)}
        for norm in self.norms:
            for seed in self.seeds:
                yield f"{self.kind}-{float(norm)}-s{seed}", common | {"norm": norm, "seed": seed}
        for norm, radius in self.non_normal:
            for seed in self.seeds:
                own = {"norm": norm, "spectral_radius": radius, "seed": seed}
                yield f"{self.kind}-{float(norm)}-r{float(radius)}-s{seed}", common | own

    def __call__(self, options: dict[str, Any]) -> dict[str, Any]:
        norm, seed = options["norm"], options["seed"]
        shape = (self.size, self.inputs, self.outputs, self.length)
        system = System.make(norm, *shape, self.correlation, seed, options.get("spectral_radius"))
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
