"""Learning curves and perplexity against k, as SVG and PNG, the same bytes from the same records."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from stablernn.record import Record
from stablernn.report.contraction import STAGE_NAMES
from stablernn.report.drawing import COLOURS, MARKERS, STYLE, legend_for_all, save_all
from stablernn.report.load import Section, setting
from stablernn.report.price import CONSTRAINTS, prices
from stablernn.report.tables import APPROXIMATION_NAMES, MODEL_NAMES, Row, rows

_PRICE_COLOURS = {
    "stable": "#0072B2",
    "rnn_spectral": "#56B4E9",
    "rnn_diagonal": "#009E73",
    "lstm_as_coded": "#D55E00",
    "lstm_comparison": "#E69F00",
    "lstm_rowwise": "#CC79A7",
    "lstm_spectral": "#009E73",
    "lstm_coupled": "#882255",
    "lstm_gated_linear": "#999999",
}
_STAGE_LINES = {"initial": ":", "best": "-", "last": "--"}


def draw_perplexity(section: Section, folder: Path) -> list[Path]:
    """Learning curves and perplexity against k; returns the files."""
    with plt.rc_context(STYLE):
        curves = [("learning_curves", _panels(section, _learning_curve)), ("perplexity_by_k", _panels(section, _by_k))]
        return save_all(curves, section.name, folder)


def draw_stability(section: Section, contractions: Sequence[tuple[Record, dict[str, Any]]], folder: Path) -> list[Path]:
    """What stability costs, and contraction on the data, where the section has such runs; returns the files."""
    ids = {record.id for record in section.records}
    contractions = [(record, result) for record, result in contractions if record.id in ids]
    figures: list[tuple[str, Figure]] = []
    with plt.rc_context(STYLE):
        if prices(section):
            figures.append(("price_of_stability", _price(section)))
        if contractions:
            figures.append(("contraction", _contraction(section, contractions)))
        return save_all(figures, section.name, folder)


def _price(section: Section) -> Figure:
    """Test perplexity against 1 - λ, with the unstable model as a line and what is not certified at the margin."""
    found = prices(section)
    models = list(dict.fromkeys(price.model for price in found))
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models) + 1.6, 3.8), squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        here = [price for price in found if price.model == model and price.cell.values]
        certified = [1 - max(price.rates) for price in here if price.rates]
        margin = min(certified, default=1e-4) / 3
        for constraint in dict.fromkeys(price.constraint for price in here):
            chosen = [price for price in here if price.constraint == constraint]
            means = [statistics.mean(price.cell.values) for price in chosen]
            if constraint == "unstable":
                axis.axhline(means[0], color="black", linewidth=1, label="unstable")
                continue
            x = [1 - max(price.rates) if price.rates else margin for price in chosen]
            axis.plot(
                *zip(*sorted(zip(x, means, strict=True)), strict=True),
                color=_PRICE_COLOURS.get(constraint),
                marker="o" if all(price.rates for price in chosen) else "x",
                linestyle="-",
                markersize=5,
                label=CONSTRAINTS.get(constraint, constraint) + ("" if chosen[0].rates else " (not certified)"),
            )
        axis.set_title(MODEL_NAMES.get(model, model))
        axis.set_xscale("log")
        axis.invert_xaxis()
        axis.set_xlabel("1 - λ, certified (longer memory to the right)")
        axis.set_ylabel("test perplexity")
        axis.legend(fontsize=7, loc="best")
    figure.suptitle(section.caption.replace("`", ""), fontsize=10)
    figure.tight_layout()
    return figure


def _contraction(section: Section, found: Sequence[tuple[Record, dict[str, Any]]]) -> Figure:
    """λ_r against r: colours for stability, lines for the stage of training."""
    models = list(dict.fromkeys(setting(record, "model.name") for record, _ in found))
    models.sort(key=lambda model: list(MODEL_NAMES).index(model) if model in MODEL_NAMES else 99)
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models) + 1.6, 3.6), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        for record, result in found:
            if setting(record, "model.name") != model:
                continue
            stability = setting(record, "stability.name")
            for stage, values in result["stages"].items():
                if stage == "last" and values["largest"] == result["stages"]["best"]["largest"]:
                    continue  # the best epoch was the last
                r, growth = zip(*((r, v) for r, v in enumerate(values["largest"], 1) if v > 1e-11), strict=True)
                axis.plot(
                    r,
                    growth,
                    color=COLOURS.get(stability),
                    linestyle=_STAGE_LINES[stage],
                    linewidth=1.6 if stage == "best" else 1.0,
                    label=f"{stability}, {STAGE_NAMES[stage]}",
                )
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_title(MODEL_NAMES.get(model, model))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda r, _: f"{r:g}")
        axis.set_yscale("log")
        axis.set_ylim(bottom=1e-6)
        axis.set_xlabel("r (words)")
    axes[0][0].set_ylabel("λ_r, largest growth found in r words")
    legend_for_all(figure, axes[0])
    figure.suptitle(section.caption.replace("`", ""), fontsize=10)
    figure.tight_layout()
    return figure


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
    legend_for_all(figure, axes[0])
    figure.suptitle(section.caption.replace("`", ""), fontsize=10)
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
