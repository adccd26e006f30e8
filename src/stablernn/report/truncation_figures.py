"""Figures of truncation: after training, in training, and how far the weights come apart."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from stablernn.report.drawing import COLOURS, MARKERS, STYLE, Found, coloured, legend_for_all, rank, save
from stablernn.report.load import Section, setting
from stablernn.report.sweep import sweep_cells
from stablernn.report.tables import APPROXIMATION_NAMES, MODEL_NAMES, STABILITIES
from stablernn.report.weight_distance import families


def draw_truncation(found: Found, stem: Path, title: str = "") -> list[Path]:
    """Perplexity above, state gap below, against k; a column for each model, a colour for each constraint."""
    models = sorted({setting(record, "model.name") for record, _ in found}, key=rank)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2, len(models), figsize=(4.2 * len(models) + 2.2, 6.4), sharex=True, sharey="row", squeeze=False
        )
        for column, model in enumerate(models):
            here = [(record, result) for record, result in found if setting(record, "model.name") == model]
            _perplexity(axes[0][column], here)
            _gaps(axes[1][column], here)
            axes[0][column].set_title(MODEL_NAMES.get(model, model))
            axes[1][column].set_xlabel("k (words that the truncated model sees)")
        axes[0][0].set_ylabel("test perplexity" if found[0][1]["options"]["split"] == "test" else "perplexity")
        axes[1][0].set_ylabel("‖h - h⁽ᵏ⁾‖₂")
        legend_for_all(figure, list(axes.flat))
        figure.suptitle(title.replace("`", "") or found[0][0].id, fontsize=10)
        figure.tight_layout()
        return save(figure, stem)


def _perplexity(axis: Axes, found: Found) -> None:
    for label, colour, result in coloured(found):
        axis.plot(result["k"], result["perplexity"], color=colour, label=f"{label}, last k words")
        recurrent = result["recurrent"]["perplexity"]
        axis.axhline(recurrent, color=colour, linestyle=":", linewidth=1.2, label=f"{label}, recurrent")
    for _, result in found:
        if result["optimal"]:
            axis.plot(result["k"], result["optimal"], color="black", linewidth=1, label="best possible with k words")
            break
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_locator(NullLocator())


def _gaps(axis: Axes, found: Found) -> None:
    for label, colour, result in coloured(found):
        state = result["state"]
        axis.plot(result["k"], state["mean"], color=colour, label=f"{label}, mean gap")
        axis.plot(result["k"], state["largest"], color=colour, linestyle="--", linewidth=1, label=f"{label}, largest")
        axis.fill_between(result["k"], state["mean"], state["p99"], color=colour, alpha=0.2, linewidth=0)
        if result["certified"]["state"]:
            axis.plot(
                result["k"],
                result["certified"]["state"],
                color=colour,
                linestyle="-.",
                linewidth=1,
                label=f"{label}, proven bound",
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.axhspan(1e-8, 1e-6, color="0.9", linewidth=0, label="rounding of float32")
    axis.set_ylim(bottom=3e-8)
    ticks = [k for k in (1, 2, 5, 10, 20, 35, 64, 100, 200) if k <= max(max(result["k"]) for _, result in found)]
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.set_xticks([], minor=True)


def draw_sweep(section: Section, folder: Path) -> list[Path]:
    """Test perplexity against the k of training: recurrent and feed-forward, a panel for each model."""
    cells = sweep_cells(section)
    models = sorted({model for model, _, _ in cells}, key=rank)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models) + 1.8, 3.6), squeeze=False)
        for axis, model in zip(axes[0], models, strict=True):
            for stability in STABILITIES:
                for name, label in APPROXIMATION_NAMES.items():
                    points = sorted(
                        (k, by[name].values)
                        for (m, s, k), by in cells.items()
                        if (m, s) == (model, stability) and name in by and by[name].values
                    )
                    if not points:
                        continue
                    ks, values = zip(*points, strict=True)
                    spread = [statistics.stdev(v) if len(v) > 1 else 0.0 for v in values]
                    axis.errorbar(
                        ks,
                        [statistics.mean(v) for v in values],
                        yerr=spread if any(spread) else None,
                        color=COLOURS[stability],
                        marker=MARKERS[name],
                        markerfacecolor="white" if name == "feedforward" else None,
                        linestyle="-" if name == "recurrent" else "--",
                        markersize=5,
                        capsize=3,
                        label=f"{stability}, {label}",
                    )
            ticks = sorted({k for m, _, k in cells if m == model})
            axis.set_xscale("log")
            axis.set_xticks(ticks, [str(k) for k in ticks])
            axis.set_xticks([], minor=True)
            axis.set_xlabel("k in training")
            axis.set_title(MODEL_NAMES.get(model, model))
        axes[0][0].set_ylabel("test perplexity")
        legend_for_all(figure, list(axes[0]))
        figure.suptitle(section.caption.replace("`", ""), fontsize=10)
        figure.tight_layout()
        return save(figure, folder / f"truncation_sweep_{section.name}")


def draw_weight_distance(section: Section, found: Found, folder: Path) -> list[Path]:
    """‖W_k - W_reference‖_F against updates: a panel for each model and constraint, a shade for each k."""
    groups = families(found)
    reference = found[0][1]["options"]["reference"]
    ks = sorted({setting(record, "truncation.k") for record, _ in found} - {reference})
    shades = {k: plt.get_cmap("viridis")(0.9 * n / max(len(ks) - 1, 1)) for n, k in enumerate(ks)}
    columns = list(dict.fromkeys((model, stability) for model, stability, _ in groups))
    rates = {model: sorted({lr for name, _, lr in groups if name == model}, reverse=True) for model, _ in columns}
    depth = max(map(len, rates.values()))
    with plt.rc_context(STYLE):
        size = (2.9 * len(columns) + 1.6, 2.9 * depth + 0.5)
        figure, axes = plt.subplots(depth, len(columns), figsize=size, sharex=True, sharey=True, squeeze=False)
        for (model, stability, lr), group in groups.items():
            axis = axes[rates[model].index(lr)][columns.index((model, stability))]
            labelled: set[int] = set()
            for record, result in group:
                k = setting(record, "truncation.k")
                if k != reference:
                    label = f"‖W_k - W_{reference}‖, k = {k}" if k not in labelled else None
                    axis.plot(*_positive(result, "distance"), color=shades[k], linewidth=1.2, label=label)
                    labelled.add(k)
            axis.plot(
                *_positive(group[-1][1], "reference_moved"),
                color="black",
                linestyle=":",
                linewidth=1.2,
                label=f"‖W_{reference} - W at the start‖",
            )
            axis.set_title(f"{MODEL_NAMES.get(model, model)}, {stability}, lr {lr:g}", fontsize=9)
            axis.set_yscale("log")
        for axis in axes[-1]:
            axis.set_xlabel("update")
        for row in axes:
            row[0].set_ylabel("distance (Frobenius)")
        legend_for_all(figure, list(axes.flat))
        figure.suptitle(section.caption.replace("`", ""), fontsize=10)
        figure.tight_layout()
        return save(figure, folder / f"weight_distance_{section.name}")


def _positive(result: dict[str, Any], name: str) -> tuple[list[int], list[float]]:
    """What a logarithmic axis can show."""
    points = [(x, y) for x, y in zip(result["updates"], result[name], strict=True) if y > 0]
    return [x for x, _ in points], [y for _, y in points]
