"""Linear systems below and above spectral norm 1: the tables of what scripts/linear_systems.py leaves."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stablernn.records.schemas import check_linear
from stablernn.report.load import load_results
from stablernn.report.sections.truncation import short
from stablernn.report.tables import Table
from stablernn.utils.wording import counted

NAME = "linear_systems"
Results = Mapping[str, dict[str, Any]]  # by file
_KINDS = ("matrix", "scalar")


def load_linear_systems(folder: Path) -> dict[str, dict[str, Any]]:
    """The results in a folder by the names of their files; one that is unreadable is named and left out."""
    return load_results(folder.glob("*.json"), check_linear)


def linear_tables(found: Results) -> list[Table]:
    """What matrices are learned, what is proven of them, and what scalar systems are learned."""
    matrices, scalars = (kind_of(found, kind) for kind in _KINDS)
    made = ((matrix_table, matrices), (proven_table, proven_of(matrices)), (scalar_table, scalars))
    return [make(here) for make, here in made if here]


def kind_of(found: Results, kind: str) -> Results:
    """The results on matrices, orthogonal ones first, by norm, radius and seed, or on scalars by target."""
    here = [(name, result) for name, result in found.items() if result["options"]["kind"] == kind]

    def order(entry: tuple[str, dict[str, Any]]) -> tuple[float, ...]:
        options = entry[1]["options"]
        if kind == "scalar":
            return (options["target"],)
        return (not orthogonal(entry[1]), options["norm"], spectral_radius(entry[1]), options["seed"])

    return dict(sorted(here, key=order))


def orthogonal(result: Mapping[str, Any]) -> bool:
    """Whether the teacher's W is, but for its scale; all others are not normal."""
    return "spectral_radius" not in result["options"]


def spectral_radius(result: Mapping[str, Any]) -> float:
    """Of the teacher's W; with an orthogonal one it is the norm."""
    return result["options"].get("spectral_radius", result["options"]["norm"])


def proven_of(matrices: Results) -> Results:
    """Those on which a bound is proven."""
    return {name: result for name, result in matrices.items() if result["proven"]}


def by_teacher(matrices: Results) -> dict[tuple[float, float], dict[str, dict[str, Any]]]:
    """The seeds of each norm and spectral radius."""
    groups: dict[tuple[float, float], dict[str, dict[str, Any]]] = {}
    for name, result in matrices.items():
        groups.setdefault((result["options"]["norm"], spectral_radius(result)), {})[name] = result
    return groups


def named(norm: float, radius: float) -> str:
    """A norm, and the spectral radius where that is another number."""
    return f"{norm:g}" if norm == radius else f"{norm:g}, ρ = {radius:g}"


def largest(group: Results, descent: str, name: str, number: int) -> float:
    """Of the seeds, at the end, for the number-th k."""
    return max(result[descent][name][-1][number] for result in group.values())


def width(group: Results) -> float:
    """Of the ball in which full and truncated descent both end: a bound beyond it says nothing."""
    return next(iter(group.values()))["proven"]["width"]


def lengths(found: Results) -> list[int]:
    """The k to which gradient descent was truncated."""
    return _options(found)["lengths"]


def _options(found: Results) -> dict[str, Any]:
    return next(iter(found.values()))["options"]


def _seeds(found: Results) -> str:
    return counted(len({result["options"]["seed"] for result in found.values()}), "seed")


def matrix_table(found: Results) -> Table:
    """A line for each teacher: the error at the best step size, and how far from the full model each truncation is."""
    options = _options(found)
    lines, files = [], []
    for (norm, radius), group in by_teacher(found).items():
        files.append(tuple(group))
        errors = [_or_infinite(result["best"]["error"][-1]) for result in group.values()]
        distances = (largest(group, "best", "distance", number) for number in range(len(options["lengths"])))
        told = (statistics.median(errors), max(errors), *distances)
        lines.append([f"{norm:g}", f"{radius:g}", *map(short, told)])
    steps = len(next(iter(found.values()))["step_sizes"])
    notes = [
        "‖W‖₂, ρ(W): spectral norm and spectral radius of the teacher, which is orthogonal but for its scale where "
        f"both are one number, and not normal elsewhere; d = {options['size']}, sequences of {options['length']}, "
        f"{counted(options['steps'], 'update')} at the best of {counted(steps, 'constant step size')}",
        "error, worst: of the full model, mean square over that of predicting 0, median and largest of "
        + _seeds(found),
        "k=...: ‖W - W_k‖_F, full against truncated gradient descent at the same step size, the largest; where "
        "the error stays near 1 nothing was learned, and a small distance says no more than that",
    ]
    heads = ["‖W‖₂", "ρ(W)", "error", "worst", *(f"k={k}" for k in options["lengths"])]
    runs = _behind(files, heads, 2)
    return Table("Linear systems: what gradient descent learns", heads, lines, notes, runs=runs)


def _or_infinite(error: float | None) -> float:
    """JSON has no infinity: a descent that diverged at every step size has null for its error."""
    return math.inf if error is None else error


def proven_table(found: Results) -> Table:
    """Two lines for each teacher: the distance of each truncation from the full model, and the bound on it."""
    options = _options(found)
    lines, files = [], []
    for teacher, group in by_teacher(found).items():
        files += [tuple(group)] * 2
        numbers = range(len(options["lengths"]))
        bounds = [largest(group, "proven", "bound", number) for number in numbers]
        measured = [short(largest(group, "proven", "distance", number)) for number in numbers]
        lines.append([named(*teacher), "measured", *measured])
        lines.append(
            [named(*teacher), "proven ≤", *(short(bound) if bound < width(group) else "–" for bound in bounds)]
        )
    notes = [
        f"‖W - W_k‖_F after {counted(options['steps'], 'update')} with step sizes α/n, largest of {_seeds(found)}; α "
        f"is {options['rate']:g} over a bound of the curvature",
        "–: no more is proven than that both lie in the ball ‖W‖₂ ≤ ‖W*‖₂",
    ]
    heads = ["‖W‖₂", "distance", *(f"k={k}" for k in options["lengths"])]
    title = "Linear systems: full and truncated gradient descent under the bound"
    return Table(title, heads, lines, notes, runs=_behind(files, heads, 2), name="linear_systems_proven")


def scalar_table(found: Results) -> Table:
    """A line for each w*."""
    options = _options(found)
    lines = []
    for result in found.values():
        target = result["options"]["target"]
        nearest = min((abs(end - target) for end in result["end"] if end is not None), default=None)
        lines.append(
            [
                f"{target:g}",
                "yes" if any(result["reached"]) else "no",
                f"{sum(result['reached'])} of {len(result['rates'])}",
                str(sum(end is None for end in result["end"])),
                short(nearest) if nearest is not None else "–",
            ]
        )
    notes = [
        f"hₜ = w hₜ₋₁ + xₜ from w = {options['start']:g}, sequences of {options['length']}, "
        f"{counted(options['steps'], 'update')} at constant step sizes from {10.0 ** options['smallest']:g} to "
        f"{10.0 ** options['largest']:g}",
        f"reached: ends within {options['tolerance']:g} of w*; nearest: least |w - w*| at the end over the step sizes",
    ]
    heads = ["w*", "learned", "step sizes that reach it", "that diverge", "nearest"]
    title = "Scalar linear systems: which can gradient descent learn"
    return Table(
        title, heads, lines, notes, runs=_behind([(name,) for name in found], heads, 1), name="linear_systems_scalar"
    )


def _behind(files: Sequence[tuple[str, ...]], heads: Sequence[str], first: int) -> list[dict[int, tuple[str, ...]]]:
    """``Table.runs`` where the files of a line are behind all of its columns from ``first`` on."""
    return [dict.fromkeys(range(first, len(heads)), names) for names in files]
