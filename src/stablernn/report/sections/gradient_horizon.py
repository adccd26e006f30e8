"""How far back gradients reach, as it changes in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stablernn.records.record import Record
from stablernn.report.curves import model_name
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import describe_briefly, over_seeds
from stablernn.report.load import Analyses, setting
from stablernn.report.names import STABILITIES, constraint_rank, rank
from stablernn.report.palette import shades
from stablernn.report.section import Section, of_analysis
from stablernn.report.sections.contraction import STAGE_NAMES
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import short, span
from stablernn.utils.wording import counted

SHOWN = (0, 10, 35, 100)
_LEAST_GRADIENT = 1e-20  # smaller values are not drawn


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
        """As the table has it; that it is the best evaluation is in its label or behind it."""
        return f"{self.label}, best" if self.best and self.label != STAGE_NAMES["best"] else self.label


def moments(record: Record, result: dict[str, Any]) -> list[Moment]:
    """In the order of training, those of the same update once; during it: of runs with ``training.keep_every``."""
    progress, stages = record.progress, result["stages"]
    best, last = progress["best_update"], progress["updates"]
    statistics = {during["update"]: during for during in result.get("during", [])}
    labels = dict.fromkeys(statistics, "")
    for update, stage in ((best, "best"), (last, "last"), (0, "initial")):
        if stage != "best" or update not in statistics:
            labels[update] = STAGE_NAMES[stage]
        statistics[update] = stages[stage]
    epochs = {update: update / max(last, 1) * progress["epochs"] for update in statistics}
    return [
        Moment(epochs[update], labels[update] or f"epoch {epochs[update]:.2g}", update == best, statistics[update])
        for update in sorted(statistics)
    ]


def in_order(analyses: Analyses) -> list[str]:
    """The labels of all moments of several runs, in the order of training."""
    first: dict[str, tuple[bool, float]] = {}
    for record, result in analyses:
        for moment in moments(record, result):
            place = (moment.label == STAGE_NAMES["last"], moment.epoch)
            first[moment.label] = min(place, first.get(moment.label, place))
    return sorted(first, key=lambda label: first[label])


def panels(analyses: Analyses) -> dict[str, Analyses]:
    """The runs of each model under each constraint, by a title; in the order of the tables."""
    groups: dict[tuple, list[tuple[Record, dict[str, Any]]]] = {}
    for (record, result), name in zip(analyses, describe_briefly([record for record, _ in analyses]), strict=True):
        model, stability = setting(record, "model.name"), setting(record, "stability.name")
        kind = rank(model), min(constraint_rank(stability), len(STABILITIES)), f"{model_name(model)}, {name}"
        groups.setdefault(kind, []).append((record, result))
    return {kind[-1]: groups[kind] for kind in sorted(groups)}


def drawn(moment: Moment) -> list[tuple[float, float]]:
    """The mean gradient by distance, as far as figures show it."""
    return [(i, value) for i, value in enumerate(moment.values["mean"]) if value > _LEAST_GRADIENT]


def gradient_horizon_table(analyses: Analyses) -> Table:
    """A line for each model and moment of its training, means over its seeds."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    shown = [i for i in SHOWN if i <= options["horizon"]]
    columns = [
        *(text("model"), text("stability"), text("weights"), key("seeds")),
        *(Column(f"i={i}", short) for i in shown),
        Column("1e-3 at i =", unit=metric.items),
        Column("slope", "+.3f", spread_format=".1g", unit=f"nats a {metric.one}"),
        Column("typical slope", "+.3f", unit=f"nats a {metric.one}"),
    ]
    entries: list[list[Entry]] = []
    runs = []
    for model, stability, group in over_seeds(analyses):
        for name, seen in _of_seeds(group):
            runs.append(tuple(record.id for record, _ in group))
            means = [fmean(values["mean"][i] for values in seen) for i in shown]
            distances = [values["fallen"] for values in seen]
            down = f"> {options['horizon']}" if None in distances else max(distances)
            slopes = [_slopes(seen, average) for average in ("mean", "geometric")]
            entries.append([model, stability, name, len(seen), *means, down, slopes[0], slopes[1].value])
    notes = [
        "i=...: ‖∂ loss / ∂ x‖₂ of the loss at t+i by the input at t (as the cells see it), mean over "
        f"{counted(options['streams'], 'position')} of {options['split']}",
        "1e-3 at i: from there on the mean is at most a thousandth of that at i = 0",
        f"slope: of the log of the mean, nats a {metric.one}, by least squares over the farther half of the distances, "
        f"{(options['horizon'] + 1) // 2} to {options['horizon']}, ± standard deviation over seeds (of one seed: "
        "standard error); typical slope: of the geometric mean",
        "of several seeds: means, and the farthest i",
    ]
    return Table("Gradient of the loss by earlier inputs", columns, entries, notes, runs=runs)


def _of_seeds(group: Analyses) -> list[tuple[str, list[dict[str, Any]]]]:
    """The name of each moment, in the order of training, and what it was in each run; of several, what all have."""
    made = [moments(record, result) for record, result in group]
    if len(made) == 1:
        return [(moment.name, [moment.values]) for moment in made[0]]
    during = [
        (label, [moment.values for found in made for moment in found if moment.label == label])
        for label in in_order(group)
        if label not in STAGE_NAMES.values()
    ]
    initial, best, last = (
        (name, [result["stages"][stage] for _, result in group]) for stage, name in STAGE_NAMES.items()
    )
    return [initial, *(moment for moment in during if len(moment[1]) == len(made)), best, last]


def _slopes(seen: Sequence[dict[str, Any]], average: str) -> Value:
    """Mean of the slopes of several seeds, or one's with its standard error; nothing where one has none."""
    slopes = [values["slope"][average] for values in seen]
    if None in slopes:
        return Value(None)
    return Value(slopes[0], seen[0]["error"][average]) if len(slopes) == 1 else Value.mean(slopes)


def gradient_figures(analyses: Analyses) -> list[Figure]:
    """Mean gradient of the loss by earlier inputs, through training."""
    drawing = Drawing()
    curves = {label: Curve(label, colour) for label, colour in shades(in_order(analyses)).items()}
    drawing.announce(curves.values())
    farthest = max((result["options"]["horizon"] for _, result in analyses), default=1)
    for title, group in panels(analyses).items():
        for record, result in group:
            for moment in moments(record, result):
                drawing.line(title, curves[moment.label], drawn(moment), (record.id,))
    ends = [moments(*analysis)[-1].values["mean"] for analysis in analyses]
    left = sorted(values[-1] / values[0] for values in ends)
    items, back = analyses[0][0].metric.items, counted(farthest, analyses[0][0].metric.one)
    figure = drawing.figure(
        "gradient_horizon",
        f"{back} back, {span([short(value) for value in left])} of the gradient is left",
        "Mean norm of the gradient of the loss at t + i by the input at t, from before training (dark) to its end, of "
        "the seeds together, in a band from the least.",
        Axis(f"i ({items})", logarithmic=False, most=farthest),
        Axis("mean norm of the gradient", powers=True),
    )
    return [figure] if figure else []


SECTION = Section(
    "gradients",
    "Gradients",
    "How much the loss at a position depends on the inputs before it.",
    of_analysis("gradient_horizon", gradient_horizon_table, gradient_figures),
    "gradient_horizon",
    ("C5",),
    ("gradient_horizon",),
)
