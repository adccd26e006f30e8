"""Linear systems below and above spectral norm 1: what gradient descent learns, and what truncation changes of it."""

from collections.abc import Iterable
from typing import Any

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.palette import shades
from stablernn.report.sections.linear_systems import (
    Results,
    by_teacher,
    kind_of,
    largest,
    lengths,
    named,
    orthogonal,
    proven_of,
    spectral_radius,
    width,
)

_ERROR = Axis("error (predicting 0: 1)", powers=True, least=1e-6)
_LEAST = 1e-16  # where a descent ends on its target to the last bit


def linear_figures(found: Results) -> list[Figure]:
    """Learning curves, ends of descents, distance of truncated from full descent; by file of the results."""
    made = (learning_curves(found), matrix_ends(found), scalar_ends(found), truncated_descent(found))
    return [figure for figure in made if figure]


def learning_curves(found: Results) -> Figure | None:
    """What is left of the error against updates, matrices of each spectral radius."""
    drawing, matrices = Drawing(), kind_of(found, "matrix")
    curves = _radii(matrices)
    for name, result in matrices.items():
        best = result["best"]
        points = [(x, y) for x, y in zip(best["updates"], best["error"], strict=True) if y is not None]
        drawing.line(_panel(result), curves[spectral_radius(result)], points, (name,))
    return drawing.figure(
        "linear_systems",
        "What gradient descent learns",
        "What is left of the error of predicting 0, at the best of the constant step sizes. A line for each seed, "
        "dashed from spectral radius 1 on. Orthogonal teachers have one number for norm and radius.",
        Axis("update"),
        _ERROR,
    )


def matrix_ends(found: Results) -> Figure | None:
    """Error at the end against the step size."""
    drawing, matrices = Drawing(), kind_of(found, "matrix")
    curves = _radii(matrices)
    for name, result in matrices.items():
        points = [(x, y) for x, y in zip(result["step_sizes"], result["errors"], strict=True) if y is not None]
        drawing.line(_panel(result), curves[spectral_radius(result)], points, (name,))
    return drawing.figure(
        "linear_step_sizes",
        "Which step sizes learn",
        "What is left of the error at the end, for each constant step size. A line for each seed; where it ends, "
        "larger ones diverge.",
        Axis("step size", powers=True),
        _ERROR,
    )


def scalar_ends(found: Results) -> Figure | None:
    """Distance from the target at the end against the step size."""
    drawing, scalars = Drawing(), kind_of(found, "scalar")
    curves = _curves((result["options"]["target"] for result in scalars.values()), "w* = {:g}")
    for name, result in scalars.items():
        target = result["options"]["target"]
        ends = zip(result["rates"], result["end"], strict=True)
        points = [(rate, max(abs(end - target), _LEAST)) for rate, end in ends if end is not None]
        drawing.line("Scalars", curves[target], points, (name,))
    return drawing.figure(
        "linear_scalars",
        "Scalar systems",
        "How far from w* descent ends, for each constant step size; at the end of a line larger ones diverge.",
        Axis("step size", powers=True),
        Axis("|w − w*|", powers=True, least=1e-6),
    )


def truncated_descent(found: Results) -> Figure | None:
    """Distance of truncated from full gradient descent against k, under the bound where one is proven."""
    drawing, groups = Drawing(), by_teacher(proven_of(kind_of(found, "matrix")))
    colours = shades(list(groups))
    for teacher, group in groups.items():
        curve = Curve(f"‖W‖₂ = {named(*teacher)}", colours[teacher])
        bound = Curve(f"{curve.label}, bound", curve.colour, (2, 3))
        gaps = 0  # where nothing is proven the bound has no line
        for number, k in enumerate(lengths(group)):
            drawing.point("Matrices", curve, k, largest(group, "proven", "distance", number), list(group))
            most = largest(group, "proven", "bound", number)
            if most < width(group):
                drawing.point("Matrices", bound, k, most, list(group), line=f"{bound.label} {gaps}")
            else:
                gaps += 1
    return drawing.figure(
        "linear_truncation",
        "Full and truncated gradient descent",
        "‖W − W_k‖_F at the end with step sizes α/n, the largest of the seeds; dotted: the proven bound. Below some "
        "10⁻¹⁴ it is rounding.",
        Axis("k", ticks=(2, 5, 10, 20, 35, 50)),
        Axis("distance (Frobenius)", powers=True),
    )


def _panel(result: dict[str, Any]) -> str:
    if orthogonal(result):
        return "Orthogonal teachers"
    return f"Not normal, ‖W‖₂ = {result['options']['norm']:g}"


def _radii(matrices: Results) -> dict[float, Curve]:
    """A curve for each spectral radius, the same in all panels."""
    return _curves((spectral_radius(result) for result in matrices.values()), "ρ(W) = {:g}")


def _curves(values: Iterable[float], label: str) -> dict[float, Curve]:
    """From dark to bright as they grow; dashed from 1 on, where the system is not stable."""
    ordered = sorted(set(values))
    colours = shades(ordered)
    return {v: Curve(label.format(v), colours[v], (5, 3) if abs(v) >= 1 else (1, 0)) for v in ordered}
