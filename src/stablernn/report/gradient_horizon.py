"""How far back gradients reach, as it changes in training: table and figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from stablernn.record import Record
from stablernn.report.certificate import describe_run, describe_stability
from stablernn.report.contraction import STAGE_NAMES
from stablernn.report.drawing import STYLE, Found, legend_for_all, rank, save
from stablernn.report.load import setting
from stablernn.report.tables import MODEL_NAMES, STABILITIES, Table, of_a_run
from stablernn.report.truncation import short

SHOWN = (0, 10, 35, 100)


@dataclass(frozen=True)
class Moment:
    """Weights of a run that were looked into.

    Attributes:
        epoch: of training, 0 before it.
        label: the same for moments of several runs that belong together.
        best: whether it is the best evaluation.
        values: statistics of the gradients.
    """

    epoch: float
    label: str
    best: bool
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """As the table calls it; the best evaluation is told by its label or behind it."""
        return f"{self.label}, best" if self.best and self.label != STAGE_NAMES["best"] else self.label


def moments(record: Record, result: dict[str, Any]) -> list[Moment]:
    """In the order of training, those of the same update once; what was kept during it is missing in older results."""
    progress, stages = record.progress, result["stages"]
    best, last = progress["best_update"], progress["updates"]
    labels = {kept["update"]: "" for kept in result.get("during", [])}
    found = {kept["update"]: kept for kept in result.get("during", [])}
    for update, stage in ((best, "best"), (last, "last"), (0, "initial")):
        if stage != "best" or update not in found:
            labels[update] = STAGE_NAMES[stage]
        found[update] = stages[stage]
    epochs = {update: update / max(last, 1) * progress["epochs"] for update in found}
    return [
        Moment(epochs[update], labels[update] or f"epoch {epochs[update]:.2g}", update == best, found[update])
        for update in sorted(found)
    ]


def in_order(found: Found) -> list[str]:
    """The labels of all moments of several runs, in the order of training."""
    first: dict[str, tuple[bool, float]] = {}
    for record, result in found:
        for moment in moments(record, result):
            place = (moment.label == STAGE_NAMES["last"], moment.epoch)
            first[moment.label] = min(place, first.get(moment.label, place))
    return sorted(first, key=lambda label: first[label])


def panels(found: Found) -> dict[str, Found]:
    """The runs of each model under each constraint, by a title; in the order of the tables."""
    groups: dict[tuple, list[tuple[Record, dict[str, Any]]]] = {}
    for record, result in found:
        model, stability = setting(record, "model.name"), setting(record, "stability.name")
        place = STABILITIES.index(stability) if stability in STABILITIES else len(STABILITIES)
        name = stability if stability in STABILITIES else describe_stability(record)
        title = f"{MODEL_NAMES.get(model, model)}, {name}"
        groups.setdefault((rank(model), place, title), []).append((record, result))
    return {key[-1]: groups[key] for key in sorted(groups)}


def gradient_horizon_table(found: Found) -> Table:
    """A line for each run and moment of its training."""
    options = found[0][1]["options"]
    shown = [i for i in SHOWN if i <= options["horizon"]]
    heads = ["model", "stability", "weights", *(f"i={i}" for i in shown), "1e-3 at i =", "slope", "typical slope"]
    lines, told = [], []
    for record, result in found:
        for moment in moments(record, result):
            told.append(record)
            fallen = moment.values["fallen"]
            lines.append(
                [
                    describe_run(record),
                    describe_stability(record),
                    moment.name,
                    *(short(moment.values["mean"][i]) for i in shown),
                    str(fallen) if fallen is not None else f"> {options['horizon']}",
                    _slope(moment.values, "mean"),
                    _slope(moment.values, "geometric").partition(" ")[0],
                ]
            )
    notes = [
        "i=...: ‖∂ loss / ∂ x‖₂ of the loss at t+i by the embedded word at t, mean over "
        f"{options['streams']} positions of {options['split']}",
        "1e-3 at i: from there on the mean is at most a thousandth of that at i = 0",
        "slope: of the log of the mean, nats a word, by least squares over i ≥ 1, ± standard error; typical slope: of "
        "the geometric mean",
    ]
    return Table("Gradient of the loss by earlier words", heads, lines, notes, runs=of_a_run(told, heads))


def _slope(values: dict[str, Any], average: str) -> str:
    slope, error = values["slope"][average], values["error"][average]
    if slope is None:
        return "–"
    return f"{slope:+.3f}" + (f" ± {error:.1g}" if error is not None else "")


def draw_gradient_horizon(found: Found, stem: Path, title: str = "") -> list[Path]:
    """Norm against i: a panel for each model and constraint, a curve for each moment of training, dark to bright."""
    groups, labels = panels(found), in_order(found)
    shades = plt.get_cmap("viridis")
    colours = {label: shades(0.9 * n / max(len(labels) - 1, 1)) for n, label in enumerate(labels)}
    with plt.rc_context(STYLE):
        size = (3.1 * len(groups) + 1.6, 3.8)
        figure, axes = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
        for axis, (head, group) in zip(axes[0], groups.items(), strict=True):
            for record, result in group:
                for moment in moments(record, result):
                    i, norms = _positive(moment.values["mean"])
                    width = 2.2 if moment.best else 1.2
                    axis.plot(i, norms, color=colours[moment.label], linewidth=width, label=moment.label)
                best = result["stages"]["best"]
                floor = [max(low, 1e-300) for low in best["low"]]
                axis.fill_between(range(len(floor)), floor, best["high"], color="grey", alpha=0.15, linewidth=0)
            axis.set_yscale("log")
            axis.set_title(head)
            axis.set_xlabel("i (words from the input to the loss)")
        means = [
            value
            for record, result in found
            for moment in moments(record, result)
            for value in moment.values["mean"]
            if value > 0
        ]
        axes[0][0].set_ylim(bottom=max(min(means, default=1e-20) / 10, 1e-20))
        axes[0][0].set_ylabel("‖∂ loss at t+i / ∂ x at t‖₂, mean")
        legend_for_all(figure, list(axes[0]), labels)
        told = "thick: best epoch, with the middle 80 % of positions"
        figure.suptitle(f"{title.replace('`', '') or found[0][0].id}\n{told}", fontsize=10)
        figure.tight_layout()
        return save(figure, stem)


def _positive(values: list[float]) -> tuple[list[int], list[float]]:
    """What a logarithmic axis can show."""
    points = [(i, value) for i, value in enumerate(values) if value > 0]
    return [i for i, _ in points], [value for _, value in points]
