"""Linear systems below and above spectral norm 1: tables and figure, from what scripts/linear_systems.py leaves."""

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from stablernn.console import log
from stablernn.files import write_text
from stablernn.report.drawing import STYLE, save
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
    """What matrices are learned, what is proven of them, and what scalar systems are learned."""
    matrices, scalars = _matrices(found), _scalars(found)
    proven = [result for result in matrices if result["proven"]]
    made = ((matrix_table, matrices), (proven_table, proven), (scalar_table, scalars))
    return [make(here) for make, here in made if here]


def _matrices(found: Results) -> list[dict[str, Any]]:
    return sorted(_kind(found, "matrix"), key=lambda result: (result["options"]["norm"], result["options"]["seed"]))


def _scalars(found: Results) -> list[dict[str, Any]]:
    return sorted(_kind(found, "scalar"), key=lambda result: result["options"]["target"])


def _kind(found: Results, kind: str) -> list[dict[str, Any]]:
    return [result for result in found if result["options"]["kind"] == kind]


def matrix_table(found: Results) -> Table:
    """A line for each norm: the error at the best step size, and how far from the full model each truncation is."""
    options = found[0]["options"]
    lines = []
    for norm, group in by_norm(found).items():
        errors = [result["best"]["error"][-1] for result in group]
        distances = (largest(group, "best", "distance", number) for number in range(len(options["lengths"])))
        lines.append([f"{norm:g}", short(statistics.median(errors)), short(max(errors)), *map(short, distances)])
    notes = [
        f"‖W‖₂ of the teacher, d = {options['size']}, sequences of {options['length']}, {options['steps']:,} updates "
        f"at the best of {len(found[0]['step_sizes'])} constant step sizes",
        "error, worst: of the full model, mean square over that of predicting 0, median and largest of "
        f"{_seeds(found)} seeds",
        "k=...: ‖W - W_k‖_F, full against truncated gradient descent at the same step size, the largest; where "
        "the error stays near 1 nothing was learned, and a small distance says no more than that",
    ]
    heads = ["‖W‖₂", "error", "worst", *(f"k={k}" for k in options["lengths"])]
    return Table("Linear systems: what gradient descent learns", heads, lines, notes)


def proven_table(found: Results) -> Table:
    """Two lines for each norm: the distance of each truncation from the full model, and the bound on it."""
    options = found[0]["options"]
    lines = []
    for norm, group in by_norm(found).items():
        numbers = range(len(options["lengths"]))
        width = group[0]["proven"]["width"]
        bounds = [largest(group, "proven", "bound", number) for number in numbers]
        measured = [short(largest(group, "proven", "distance", number)) for number in numbers]
        lines.append([f"{norm:g}", "measured", *measured])
        lines.append([f"{norm:g}", "proven ≤", *(short(bound) if bound < width else "–" for bound in bounds)])
    notes = [
        f"‖W - W_k‖_F after {options['steps']:,} updates with step sizes α/n, largest of {_seeds(found)} seeds; α is "
        f"{options['rate']:g} over a bound of the curvature",
        "–: no more is proven than that both lie in the ball ‖W‖₂ ≤ ‖W*‖₂",
    ]
    heads = ["‖W‖₂", "distance", *(f"k={k}" for k in options["lengths"])]
    return Table("Linear systems: full and truncated gradient descent under the bound", heads, lines, notes)


def largest(group: Results, descent: str, name: str, number: int) -> float:
    """Of the seeds, at the end, for the number-th k."""
    return max(result[descent][name][-1][number] for result in group)


def _seeds(found: Results) -> int:
    return len({result["options"]["seed"] for result in found})


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
    """Distance against k under its bound, learning curves, and where descents end against their step size."""
    matrices, scalars = _matrices(found), _scalars(found)
    proven = [result for result in matrices if result["proven"]]
    chosen = ((_distances, proven), (_curves, matrices), (_matrix_ends, matrices), (_scalar_ends, scalars))
    panels = [(draw, here) for draw, here in chosen if here]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(3.7 * len(panels), 4.6), squeeze=False)
        for axis, (draw, here) in zip(axes[0], panels, strict=True):
            draw(axis, here)
            handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            axis.legend(handles.values(), handles, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
        figure.tight_layout()
        return save(figure, stem)


def _shades(values: Sequence[float]) -> dict[float, Any]:
    """Violet to yellow below 1 and from there on reds: whether a system is stable is seen at once."""
    stable = [value for value in values if abs(value) < 1]
    rest = [value for value in values if abs(value) >= 1]
    shades = {value: plt.get_cmap("viridis")(0.75 * n / max(len(stable) - 1, 1)) for n, value in enumerate(stable)}
    return shades | {
        value: plt.get_cmap("autumn")(0.6 - 0.6 * n / max(len(rest) - 1, 1)) for n, value in enumerate(rest)
    }


def _distances(axis: Axes, found: Results) -> None:
    groups = by_norm(found)
    lengths = found[0]["options"]["lengths"]
    for norm, colour in _shades(list(groups)).items():
        measured = [largest(groups[norm], "proven", "distance", number) for number in range(len(lengths))]
        bounds = [largest(groups[norm], "proven", "bound", number) for number in range(len(lengths))]
        axis.plot(*_positive(lengths, measured), color=colour, marker="o", markersize=3, label=f"‖W‖₂ = {norm:g}")
        width = groups[norm][0]["proven"]["width"]
        proven = [bound if bound < width else math.nan for bound in bounds]  # a gap in the line
        axis.plot(lengths, proven, color=colour, linestyle="--", linewidth=1, marker="v", markersize=3)
    axis.plot([], [], color="0.3", linestyle="--", linewidth=1, marker="v", markersize=3, label="proven bound")
    axis.axhspan(1e-17, 1e-14, color="0.9", linewidth=0, label="rounding")
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-17)
    axis.set_xlabel("k")
    axis.set_title("‖W - W_k‖_F at the end, step sizes α/n", fontsize=9)


def _positive(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """What a logarithmic axis can show."""
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if y > 0]
    return [x for x, _ in points], [y for _, y in points]


def _curves(axis: Axes, found: Results) -> None:
    groups = by_norm(found)
    for norm, colour in _shades(list(groups)).items():
        for result in groups[norm]:
            best = result["best"]
            axis.plot(best["updates"], best["error"], color=colour, linewidth=1, label=f"‖W‖₂ = {norm:g}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-5)
    axis.set_xlabel("update")
    axis.set_title("error (predicting 0: 1), best step size", fontsize=9)


def _matrix_ends(axis: Axes, found: Results) -> None:
    groups = by_norm(found)
    for norm, colour in _shades(list(groups)).items():
        for result in groups[norm]:
            axis.plot(result["step_sizes"], result["errors"], color=colour, linewidth=1, label=f"‖W‖₂ = {norm:g}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-5)
    axis.set_xlabel("step size")
    axis.set_title("error at the end", fontsize=9)


def _scalar_ends(axis: Axes, found: Results) -> None:
    shades = _shades([result["options"]["target"] for result in found])
    for result in found:
        target = result["options"]["target"]
        points = [
            (rate, max(abs(end - target), 1e-16))
            for rate, end in zip(result["rates"], result["end"], strict=True)
            if end is not None
        ]
        if points:
            axis.plot(*zip(*points, strict=True), color=shades[target], linewidth=1.2, label=f"w* = {target:g}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-6)
    axis.set_xlabel("step size (at the end of a line: larger ones diverge)")
    axis.set_title("scalar: |w - w*| at the end", fontsize=9)
