"""How far back gradients reach: table and figure."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from stablernn.report.certificate import describe_run, describe_stability
from stablernn.report.contraction import STAGE_NAMES, stages_of
from stablernn.report.drawing import STYLE, Found, coloured, legend_for_all, rank, save
from stablernn.report.load import setting
from stablernn.report.tables import MODEL_NAMES, Table
from stablernn.report.truncation import short

SHOWN = (0, 5, 10, 35, 100)
_LINES = {"initial": ":", "best": "-", "last": "--"}


def gradient_horizon_table(found: Found) -> Table:
    """A line for each run and stage."""
    options = found[0][1]["options"]
    shown = [i for i in SHOWN if i <= options["horizon"]]
    heads = ["model", "stability", "weights", *(f"i={i}" for i in shown), "1e-3 at i =", "slope", "typical slope"]
    lines = []
    for record, result in found:
        for names, values in stages_of(result["stages"]):
            fallen = values["fallen"]
            lines.append(
                [
                    describe_run(record),
                    describe_stability(record),
                    names,
                    *(short(values["mean"][i]) for i in shown),
                    str(fallen) if fallen is not None else f"> {options['horizon']}",
                    *(_slope(values, average) for average in ("mean", "geometric")),
                ]
            )
    notes = [
        "i=...: ‖∂ loss / ∂ x‖₂ of the loss at t+i by the embedded word at t, mean over "
        f"{options['streams']} positions of {options['split']}",
        "1e-3 at i: from there on the mean is at most a thousandth of that at i = 0",
        "slope: of the log of the mean, nats a word, by least squares over i ≥ 1, ± standard error; typical slope: of "
        "the geometric mean",
    ]
    return Table("Gradient of the loss by earlier words", heads, lines, notes)


def _slope(values: dict[str, Any], average: str) -> str:
    slope, error = values["slope"][average], values["error"][average]
    if slope is None:
        return "–"
    return f"{slope:+.3f}" + (f" ± {error:.1g}" if error is not None else "")


def draw_gradient_horizon(found: Found, stem: Path, title: str = "") -> list[Path]:
    """Norm against i: a panel for each model, a colour for each constraint, a line for each stage of training."""
    models = sorted({setting(record, "model.name") for record, _ in found}, key=rank)
    with plt.rc_context(STYLE):
        size = (4.2 * len(models) + 2.0, 3.8)
        figure, axes = plt.subplots(1, len(models), figsize=size, sharey=True, squeeze=False)
        for axis, model in zip(axes[0], models, strict=True):
            here = [(record, result) for record, result in found if setting(record, "model.name") == model]
            for label, colour, result in coloured(here):
                stages = result["stages"]
                for stage, style in _LINES.items():
                    if stage == "last" and stages["last"] == stages["best"]:
                        continue
                    i, norms = _positive(stages[stage]["mean"])
                    text = f"{label}, {STAGE_NAMES[stage]}"
                    axis.plot(i, norms, color=colour, linestyle=style, linewidth=1.4, label=text)
                best = stages["best"]
                floor = [max(low, 1e-300) for low in best["low"]]
                axis.fill_between(range(len(floor)), floor, best["high"], color=colour, alpha=0.15, linewidth=0)
            axis.set_yscale("log")
            axis.set_title(MODEL_NAMES.get(model, model))
            axis.set_xlabel("i (words from the input to the loss)")
        means = [
            value for _, result in found for stage in result["stages"].values() for value in stage["mean"] if value > 0
        ]
        axes[0][0].set_ylim(bottom=max(min(means, default=1e-20) / 10, 1e-20))
        axes[0][0].set_ylabel("‖∂ loss at t+i / ∂ x at t‖₂, mean")
        legend_for_all(figure, list(axes[0]))
        figure.suptitle(title.replace("`", "") or found[0][0].id, fontsize=10)
        figure.tight_layout()
        return save(figure, stem)


def _positive(values: list[float]) -> tuple[list[int], list[float]]:
    """What a logarithmic axis can show."""
    points = [(i, value) for i, value in enumerate(values) if value > 0]
    return [i for i, _ in points], [value for _, value in points]
