"""Linear systems below and above spectral norm 1: tables and figure, from what scripts/linear_systems.py leaves."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from stablernn.console import log
from stablernn.files import write_text
from stablernn.report.drawing import STYLE, legend_for_all, save
from stablernn.report.tables import Table, latex, markdown
from stablernn.report.truncation import short

NAME = "linear_systems"
Results = Sequence[dict[str, Any]]


def write_linear_systems(folder: Path, results: Path) -> list[Path]:
    """Tables and figure of the results in a folder, if there are any; returns the files."""
    found = load_linear_systems(folder)
    tables = linear_tables(found)
    if not tables:
        return []
    written = []
    for kind, write in (("md", markdown), ("tex", latex)):
        path = results / "tables" / f"{NAME}.{kind}"
        write_text(path, "\n".join(write(shown) for shown in tables))
        written.append(path)
    return [*written, *draw_linear_systems(found, results / "figures" / NAME)]


def load_linear_systems(folder: Path) -> list[dict[str, Any]]:
    """The results in a folder; one that is unreadable is named and left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            if result["options"]["kind"] in ("matrix", "scalar"):
                found.append(result)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning(f"left out: {path} is not readable ({error}); delete it to make it again")
    return found


def linear_tables(found: Results) -> list[Table]:
    """Of the matrices, then of the scalar systems."""
    return [make(here) for make, here in ((matrix_table, _matrices(found)), (scalar_table, _scalars(found))) if here]


def _matrices(found: Results) -> list[dict[str, Any]]:
    return sorted(_kind(found, "matrix"), key=lambda result: (result["options"]["norm"], result["options"]["seed"]))


def _scalars(found: Results) -> list[dict[str, Any]]:
    return sorted(_kind(found, "scalar"), key=lambda result: result["options"]["target"])


def _kind(found: Results, kind: str) -> list[dict[str, Any]]:
    return [result for result in found if result["options"]["kind"] == kind]


def matrix_table(found: Results) -> Table:
    """A line for each norm: what was learned, then for each k how far the truncated model is from the full one."""
    options = found[0]["options"]
    lengths = options["lengths"]
    lines = []
    for norm, group in by_norm(found).items():
        cells = []
        for number in range(len(lengths)):
            distance = max(result["distance"][-1][number] for result in group)
            bound = max(result["bound"][-1][number] for result in group)
            width = group[0]["width"]
            cells.append(f"{short(distance)} ≤ {short(bound)}" if bound < width else short(distance))
        errors = [result["error"][-1] for result in group]
        lines.append([f"{norm:g}", short(statistics.mean(errors)), *cells])
    seeds = len({result["options"]["seed"] for result in found})
    notes = [
        f"‖W‖₂ of the teacher, d = {options['size']}, sequences of {options['length']}; full: mean square error of the "
        f"full model after {options['steps']:,} updates, over that of predicting 0, mean of {seeds} seeds",
        "k=...: ‖W - W_k‖_F, full against truncated gradient descent, the largest of the seeds, ≤ what is proven; "
        "alone where no more is proven than that both lie in the ball ‖W‖₂ ≤ ‖W*‖₂",
        f"step sizes α/n with α = {options['rate']:g} over the curvature bound of the full model",
    ]
    heads = ["‖W‖₂", "full", *(f"k={k}" for k in lengths)]
    return Table("Linear systems: full and truncated gradient descent", heads, lines, notes)


def by_norm(found: Results) -> dict[float, list[dict[str, Any]]]:
    """The seeds of each norm."""
    groups: dict[float, list[dict[str, Any]]] = {}
    for result in found:
        groups.setdefault(result["options"]["norm"], []).append(result)
    return groups


def scalar_table(found: Results) -> Table:
    """A line for each w*."""
    options = found[0]["options"]
    lines = []
    for result in found:
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
        f"h_t = w h_t-1 + x_t from w = {options['start']:g}, sequences of {options['length']}, "
        f"{options['steps']:,} updates at constant step sizes from 1e{options['smallest']} to 1e{options['largest']}",
        f"reached: ends within {options['tolerance']:g} of w*; nearest: least |w - w*| at the end over the step sizes",
    ]
    heads = ["w*", "learned", "step sizes that reach it", "that diverge", "nearest"]
    return Table("Scalar linear systems: which can gradient descent learn", heads, lines, notes)


def draw_linear_systems(found: Results, stem: Path) -> list[Path]:
    """Distance against k under its bound, error against updates, the ends of scalar descents against the step size."""
    matrices, scalars = _matrices(found), _scalars(found)
    panels = [_distances, _errors] * bool(matrices) + [_ends] * bool(scalars)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(4.3 * len(panels) + 1.4, 3.8), squeeze=False)
        for axis, draw in zip(axes[0], panels, strict=True):
            draw(axis, scalars if draw is _ends else matrices)
        legend_for_all(figure, list(axes[0]))
        figure.tight_layout()
        return save(figure, stem)


def _shades(values: Sequence[float]) -> dict[float, Any]:
    return {value: plt.get_cmap("viridis")(0.9 * n / max(len(values) - 1, 1)) for n, value in enumerate(values)}


def _distances(axis: Axes, found: Results) -> None:
    groups = by_norm(found)
    lengths = found[0]["options"]["lengths"]
    for norm, colour in _shades(list(groups)).items():
        group = groups[norm]
        measured = [max(result["distance"][-1][n] for result in group) for n in range(len(lengths))]
        bounds = [max(result["bound"][-1][n] for result in group) for n in range(len(lengths))]
        kept = [(k, value) for k, value in zip(lengths, measured, strict=True) if value > 0]
        axis.plot(*zip(*kept, strict=True), color=colour, marker="o", markersize=3, label=f"‖W‖₂ = {norm:g}")
        proven = [(k, value) for k, value in zip(lengths, bounds, strict=True) if 0 < value < group[0]["width"]]
        if proven:
            axis.plot(*zip(*proven, strict=True), color=colour, linestyle="--", linewidth=1)
    axis.plot([], [], color="0.3", linestyle="--", linewidth=1, label="proven bound")
    axis.axhspan(1e-17, 1e-14, color="0.9", linewidth=0, label="rounding of float64")
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-17)
    axis.set_xlabel("k")
    axis.set_ylabel("‖W - W_k‖_F at the end")


def _errors(axis: Axes, found: Results) -> None:
    groups = by_norm(found)
    for norm, colour in _shades(list(groups)).items():
        for result in groups[norm]:
            axis.plot(result["updates"], result["error"], color=colour, linewidth=1, label=f"‖W‖₂ = {norm:g}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("update")
    axis.set_ylabel("error of the full model (predicting 0: 1)")


def _ends(axis: Axes, found: Results) -> None:
    for target, colour in _shades([result["options"]["target"] for result in found]).items():
        (result,) = (result for result in found if result["options"]["target"] == target)
        points = [
            (rate, max(abs(end - target), 1e-16))
            for rate, end in zip(result["rates"], result["end"], strict=True)
            if end is not None
        ]
        if points:
            style = "-" if abs(target) < 1 else "--"
            axis.plot(
                *zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.2, label=f"w* = {target:g}"
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-6)
    axis.set_xlabel("step size (where a line ends, larger ones diverge)")
    axis.set_ylabel("|w - w*| at the end")
