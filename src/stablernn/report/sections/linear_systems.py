"""Linear systems below and above spectral norm 1: what gradient descent learns, and what truncation changes of it."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure, evenly
from stablernn.report.load import LINEAR_SYSTEMS, Measurements
from stablernn.report.palette import shades
from stablernn.report.section import Block, Section
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import short, span
from stablernn.utils.wording import counted

_KINDS = ("matrix", "scalar")
_ERROR = Axis("error (predicting 0: 1)", powers=True, least=1e-6)
_LEAST = 1e-16  # where a descent ends on its target to the last bit


def of_kind(results: Measurements, kind: str) -> Measurements:
    """The results on matrices, orthogonal ones first, by norm, radius and seed, or on scalars by target."""
    here = [(name, result) for name, result in results.items() if result["options"]["kind"] == kind]

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


def proven_of(matrices: Measurements) -> Measurements:
    """Those on which a bound is proven."""
    return {name: result for name, result in matrices.items() if result["proven"]}


def by_teacher(matrices: Measurements) -> dict[tuple[float, float], Measurements]:
    """The seeds of each norm and spectral radius."""
    groups: dict[tuple[float, float], Measurements] = {}
    for name, result in matrices.items():
        groups.setdefault((result["options"]["norm"], spectral_radius(result)), {})[name] = result
    return groups


def _teacher(norm: float, radius: float) -> str:
    """A norm, and the spectral radius where that is another number."""
    return f"{norm:g}" if norm == radius else f"{norm:g}, ρ = {radius:g}"


def _largest(group: Measurements, descent: str, name: str, number: int) -> float:
    """Of the seeds, at the end, for the number-th k."""
    return max(result[descent][name][-1][number] for result in group.values())


def _width(group: Measurements) -> float:
    """Of the ball in which full and truncated descent both end: a bound beyond it says nothing."""
    return next(iter(group.values()))["proven"]["width"]


def _options(results: Measurements) -> dict[str, Any]:
    return next(iter(results.values()))["options"]


def _seeds(results: Measurements) -> str:
    return counted(len({result["options"]["seed"] for result in results.values()}), "seed")


# ---- tables


def linear_tables(results: Measurements) -> list[Table]:
    """What matrices are learned, what is proven of them, and what scalar systems are learned."""
    matrices, scalars = (of_kind(results, kind) for kind in _KINDS)
    made = ((matrix_table, matrices), (proven_table, proven_of(matrices)), (scalar_table, scalars))
    return [make(here) for make, here in made if here]


def matrix_table(results: Measurements) -> Table:
    """A line for each teacher: the error at the best step size, and how far from the full model each truncation is."""
    options = _options(results)
    numbers = range(len(options["lengths"]))
    entries: list[list[Entry]] = []
    for (norm, radius), group in by_teacher(results).items():
        # JSON has no infinity: a descent that diverged at every step size has null for its error.
        ends = [result["best"]["error"][-1] for result in group.values()]
        errors = [math.inf if error is None else error for error in ends]
        distances = [_largest(group, "best", "distance", number) for number in numbers]
        entries.append([norm, radius, statistics.median(errors), max(errors), *distances])
    steps = len(next(iter(results.values()))["step_sizes"])
    notes = [
        "‖W‖₂, ρ(W): spectral norm and radius of the teacher, orthogonal but for its scale where they are equal; "
        f"d = {options['size']}, sequences of {options['length']}, "
        f"{counted(options['steps'], 'update')} at the best of {counted(steps, 'constant step size')}",
        "error, worst: of the full model, mean square over that of predicting 0, median and largest of "
        + _seeds(results),
        "k=...: ‖W - W_k‖_F, full against truncated gradient descent at the same step size, the largest",
    ]
    columns = [key("‖W‖₂", "g"), key("ρ(W)", "g"), Column("error", short), Column("worst", short)]
    columns += [Column(f"k={k}", short) for k in options["lengths"]]
    runs = [tuple(group) for group in by_teacher(results).values()]
    return Table("Linear systems: what gradient descent learns", columns, entries, notes, runs=runs)


def proven_table(results: Measurements) -> Table:
    """Two lines for each teacher: the distance of each truncation from the full model, and the bound on it."""
    options = _options(results)
    numbers = range(len(options["lengths"]))
    entries: list[list[Entry]] = []
    for teacher, group in by_teacher(results).items():
        measured, bounds = (
            [_largest(group, "proven", name, number) for number in numbers] for name in ("distance", "bound")
        )
        entries.append([_teacher(*teacher), "measured", *measured])
        proven = [bound if bound < _width(group) else None for bound in bounds]
        entries.append([_teacher(*teacher), "proven ≤", *proven])
    notes = [
        f"‖W - W_k‖_F after {counted(options['steps'], 'update')} with step sizes α/n, largest of {_seeds(results)}; α "
        f"is {options['rate']:g} over a bound of the curvature",
        "–: no more is proven than that both lie in the ball ‖W‖₂ ≤ ‖W*‖₂",
    ]
    columns = [text("‖W‖₂"), text("distance"), *(Column(f"k={k}", short) for k in options["lengths"])]
    runs = [tuple(group) for group in by_teacher(results).values() for _ in range(2)]
    title = "Linear systems: full and truncated gradient descent under the bound"
    return Table(title, columns, entries, notes, runs=runs, name="linear_systems_proven")


def scalar_table(results: Measurements) -> Table:
    """A line for each w*."""
    options = _options(results)
    entries: list[list[Entry]] = []
    for result in results.values():
        target, reached = result["options"]["target"], result["reached"]
        nearest = min((abs(end - target) for end in result["end"] if end is not None), default=None)
        share = Value(sum(reached), of=len(result["rates"]))
        diverged = sum(end is None for end in result["end"])
        entries.append([target, "yes" if any(reached) else "no", share, diverged, nearest])
    notes = [
        f"hₜ = w hₜ₋₁ + xₜ from w = {options['start']:g}, sequences of {options['length']}, "
        f"{counted(options['steps'], 'update')} at constant step sizes from {10.0 ** options['smallest']:g} to "
        f"{10.0 ** options['largest']:g}",
        f"reached: ends within {options['tolerance']:g} of w*; nearest: least |w - w*| at the end over the step sizes",
    ]
    columns = [key("w*", "g"), Column("learned"), Column("step sizes that reach it")]
    columns += [Column("that diverge"), Column("nearest", short)]
    title = "Scalar linear systems: which can gradient descent learn"
    runs = [(name,) for name in results]
    return Table(title, columns, entries, notes, runs=runs, name="linear_systems_scalar")


# ---- figures


def linear_figures(results: Measurements) -> list[Figure]:
    """Learning curves, ends of descents, distance of truncated from full descent."""
    made = (learning_curves(results), matrix_ends(results), scalar_ends(results), truncated_descent(results))
    return [figure for figure in made if figure]


def learning_curves(results: Measurements) -> Figure | None:
    """What is left of the error against updates, matrices of each spectral radius."""
    return _of_matrices(results, lambda result: (result["best"]["updates"], result["best"]["error"])).figure(
        "linear_systems",
        f"Descent leaves {_left(results, 0, 1)} of the error at norms below 1, {_left(results, 1.001)} above",
        "What is left of the error of predicting 0, at the best of the constant step sizes: the mean of the seeds, in "
        "a band from the least, dashed from radius 1 on. Orthogonal teachers have one number for norm and radius.",
        Axis("update"),
        _ERROR,
    )


def matrix_ends(results: Measurements) -> Figure | None:
    """Error at the end against the step size."""
    return _of_matrices(results, lambda result: (result["step_sizes"], result["errors"])).figure(
        "linear_step_sizes",
        f"At norms above 1 the best step size leaves {_left(results, 1.001)} of the error",
        "What is left of the error at the end, for each constant step size: the mean of the seeds, in a band from the "
        "least; where a curve ends, larger ones diverge, and what is above the panel is useless.",
        Axis("step size", powers=True),
        replace(_ERROR, most=10),
    )


def _left(results: Measurements, least: float, most: float = math.inf) -> str:
    """Of the error, at the best step size: the range over the matrices of a norm from ``least`` to below ``most``."""
    matrices = of_kind(results, "matrix").values()
    left = sorted(one["best"]["error"][-1] for one in matrices if least <= one["options"]["norm"] < most)
    return span([short(value) for value in (left[0], left[-1])]) if left else "nothing known"


def _of_matrices(results: Measurements, values) -> Drawing:
    """A line for each file; a curve for each spectral radius, the same in all panels."""
    drawing, matrices = Drawing(), of_kind(results, "matrix")
    curves = _curves((spectral_radius(result) for result in matrices.values()), "ρ(W) = {:g}")
    radii = sorted({spectral_radius(result) for result in matrices.values() if orthogonal(result)})
    shown = [r for r in radii if r <= 1] + evenly([r for r in radii if r > 1], 2)
    for name, result in matrices.items():
        if orthogonal(result) and spectral_radius(result) not in shown:
            continue
        norm = f"Not normal, norm {result['options']['norm']:g}"
        points = [(x, y) for x, y in zip(*values(result), strict=True) if y is not None]
        panel = "Orthogonal teachers" if orthogonal(result) else norm
        drawing.line(panel, curves[spectral_radius(result)], points, (name,))
    return drawing


def scalar_ends(results: Measurements) -> Figure | None:
    """Distance from the target at the end against the step size."""
    drawing, scalars = Drawing(), of_kind(results, "scalar")
    curves = _curves((result["options"]["target"] for result in scalars.values()), "w* = {:g}")
    reached = {result["options"]["target"]: any(result["reached"]) for result in scalars.values()}
    below, above = ([one for w, one in reached.items() if (abs(w) < 1) is inside] for inside in (True, False))
    for name, result in scalars.items():
        target = result["options"]["target"]
        if target not in evenly(list(curves)):
            continue
        ends = zip(result["rates"], result["end"], strict=True)
        points = [(rate, max(abs(end - target), _LEAST)) for rate, end in ends if end is not None]
        drawing.line("Scalars", curves[target], points, (name,))
    return drawing.figure(
        "linear_scalars",
        f"Descent reaches {sum(below)} of {len(below)} targets below 1 and {sum(above)} of {len(above)} others",
        "How far from w* descent ends, for each constant step size; at the end of a line larger ones diverge.",
        Axis("step size", powers=True),
        Axis("|w − w*|", powers=True, least=1e-6),
    )


def truncated_descent(results: Measurements) -> Figure | None:
    """Distance of truncated from full gradient descent against k, under the bound where one is proven."""
    drawing, above, groups = Drawing(), False, by_teacher(proven_of(of_kind(results, "matrix")))
    colours = shades(list(groups))
    for teacher, group in groups.items():
        curve = Curve(f"‖W‖₂ = {_teacher(*teacher)}", colours[teacher])
        bound = Curve(f"{curve.label}, bound", curve.colour, (2, 3))
        gaps = 0  # where nothing is proven the bound has no line
        for number, k in enumerate(_options(group)["lengths"]):
            drawing.point("Matrices", curve, k, _largest(group, "proven", "distance", number), list(group))
            most = _largest(group, "proven", "bound", number)
            above |= _largest(group, "proven", "distance", number) > most
            if most < _width(group):
                drawing.point("Matrices", bound, k, most, list(group), line=f"{bound.label} {gaps}")
            else:
                gaps += 1
    return drawing.figure(
        "linear_truncation",
        f"Truncated descent ends {'farther' if above else 'nowhere farther'} from full descent than is proven",
        "‖W − W_k‖_F at the end with step sizes α/n, the largest of the seeds; dotted: the proven bound. Below some "
        "10⁻¹⁴ it is rounding.",
        Axis("k", ticks=(2, 5, 10, 20, 35, 50)),
        Axis("distance (Frobenius)", powers=True),
    )


def _curves(values: Iterable[float], label: str) -> dict[float, Curve]:
    """From dark to bright as they grow; dashed from 1 on, where the system is not stable."""
    ordered = sorted(set(values))
    colours = shades(ordered)
    return {v: Curve(label.format(v), colours[v], (5, 3) if abs(v) >= 1 else (1, 0)) for v in ordered}


def _blocks(evidence: Evidence) -> list[Block]:
    return [Block("Below and above 1", linear_figures(evidence.linear), linear_tables(evidence.linear))]


SECTION = Section(
    "linear",
    "Linear systems",
    "Gradient descent on linear systems whose spectral norm and spectral radius lie below 1, at 1 and above.",
    _blocks,
    LINEAR_SYSTEMS,
    ("C7",),
)
