"""Learning curves and perplexity against k, as SVG and PNG, the same bytes from the same records."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from stablernn.files import replacing
from stablernn.report.load import Section
from stablernn.report.tables import APPROXIMATION_NAMES, MODEL_NAMES, Row, rows

# Okabe & Ito 2008: told apart by readers with any colour vision.
COLOURS = {"unstable": "#D55E00", "stable": "#0072B2"}
MARKERS = {"recurrent": "o", "feedforward": "s"}
_STYLE: Any = {
    "svg.hashsalt": "stablernn",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.dpi": 150,
}


def draw_all(section: Section, folder: Path) -> list[Path]:
    """Every figure of a section; returns the files."""
    written = []
    with plt.rc_context(_STYLE):
        for name, draw in (("learning_curves", _learning_curve), ("perplexity_by_k", _by_k)):
            figure = _panels(section, draw)
            written += _save(figure, folder / f"{name}_{section.name}")
            plt.close(figure)
    return written


def _panels(section: Section, draw: Callable[[Axes, list[Row]], None]) -> Figure:
    """A panel for each model, one legend for all."""
    body = rows(section)
    models = list(dict.fromkeys(row.model for row in body))
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models) + 1.2, 3.6), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        draw(axis, [row for row in body if row.model == model])
        axis.set_title(MODEL_NAMES.get(model, model))
        axis.set_yscale("log")
        # Perplexities rarely span a decade: round numbers label the axis better than powers of ten.
        axis.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_locator(NullLocator())
        if axis is not axes[0][0]:
            axis.set_ylabel("")
    handles: dict[str, object] = {}
    for axis in axes[0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.suptitle(section.caption.replace("`", ""), fontsize=10)
    figure.legend(list(handles.values()), list(handles), loc="center left", bbox_to_anchor=(1.0, 0.5))  # type: ignore[arg-type]
    figure.tight_layout()
    return figure


def _learning_curve(axis: Axes, body: list[Row]) -> None:
    fewest = {
        approximation: min((r.k for r in body if r.approximation == approximation), default=0)
        for approximation in MARKERS
    }
    for row in body:
        for stability, cell in sorted(row.cells.items(), reverse=True):
            for number, run in enumerate(cell.finished):
                points = [entry for entry in run.history if "valid_perplexity" in entry]
                axis.plot(
                    [entry["epoch"] for entry in points],
                    [entry["valid_perplexity"] for entry in points],
                    color=COLOURS.get(stability),
                    linestyle="-" if row.approximation == "recurrent" else "--",
                    linewidth=1.8 if row.k > fewest[row.approximation] else 0.9,
                    alpha=0.85,
                    label=f"{stability}, {APPROXIMATION_NAMES[row.approximation]}, k = {row.k}"
                    if number == 0
                    else None,
                )
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation perplexity")


def _by_k(axis: Axes, body: list[Row]) -> None:
    for stability in COLOURS:
        for approximation, marker in MARKERS.items():
            cells = [
                (r.k, r.cells[stability].values)
                for r in body
                if r.approximation == approximation and stability in r.cells
            ]
            points = [
                (k, statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
                for k, values in cells
                if values
            ]
            if points:
                ks, means, deviations = zip(*points, strict=True)
                axis.errorbar(
                    ks,
                    means,
                    yerr=deviations if any(deviations) else None,
                    color=COLOURS[stability],
                    marker=marker,
                    markerfacecolor="white" if approximation == "feedforward" else None,
                    linestyle="-" if approximation == "recurrent" else "--",
                    markersize=5,
                    capsize=3,
                    label=f"{stability}, {APPROXIMATION_NAMES[approximation]}",
                )
    optimal = body[0].any_run.metrics.get("optimal")
    ks = sorted({row.k for row in body})
    if optimal:
        curve = optimal["test_by_context"]
        axis.plot(range(1, len(curve) + 1), curve, color="black", linewidth=1, label="best possible with k words")
        ks = [1, *ks]
    axis.set_xscale("log")
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("k (words of context; steps of backpropagation)")
    axis.set_ylabel("test perplexity")


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = []
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        path = stem.with_name(f"{stem.name}.{kind}")
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata, bbox_inches="tight")
        paths.append(path)
    return paths
