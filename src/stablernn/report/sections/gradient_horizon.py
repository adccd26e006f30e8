"""How far back gradients reach, as it changes in training: its moments, and the table."""

from dataclasses import dataclass
from typing import Any

from stablernn.records.record import Record
from stablernn.report.labels import describe, describe_briefly
from stablernn.report.load import Found, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES, rank
from stablernn.report.sections.contraction import STAGE_NAMES
from stablernn.report.sections.truncation import short
from stablernn.report.tables import Table, of_a_run
from stablernn.utils.wording import counted

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
    for (record, result), name in zip(found, describe_briefly([record for record, _ in found]), strict=True):
        model, stability = setting(record, "model.name"), setting(record, "stability.name")
        place = STABILITIES.index(stability) if stability in STABILITIES else len(STABILITIES)
        title = f"{MODEL_NAMES.get(model, model)}, {name}"
        groups.setdefault((rank(model), place, title), []).append((record, result))
    return {key[-1]: groups[key] for key in sorted(groups)}


def gradient_horizon_table(found: Found) -> Table:
    """A line for each run and moment of its training."""
    options = found[0][1]["options"]
    shown = [i for i in SHOWN if i <= options["horizon"]]
    heads = ["model", "stability", "weights", *(f"i={i}" for i in shown), "1e-3 at i =", "slope", "typical slope"]
    lines, told = [], []
    for names, (record, result) in zip(describe(found), found, strict=True):
        for moment in moments(record, result):
            told.append(record)
            fallen = moment.values["fallen"]
            lines.append(
                [
                    *names,
                    moment.name,
                    *(short(moment.values["mean"][i]) for i in shown),
                    str(fallen) if fallen is not None else f"> {options['horizon']}",
                    _slope(moment.values, "mean"),
                    _slope(moment.values, "geometric").partition(" ")[0],
                ]
            )
    notes = [
        "i=...: ‖∂ loss / ∂ x‖₂ of the loss at t+i by the embedded word at t, mean over "
        f"{counted(options['streams'], 'position')} of {options['split']}",
        "1e-3 at i: from there on the mean is at most a thousandth of that at i = 0",
        "slope: of the log of the mean, nats a word, by least squares over i ≥ 1, ± standard error; typical slope: of "
        "the geometric mean",
    ]
    runs = of_a_run(told, heads, 3)
    return Table("Gradient of the loss by earlier words", heads, lines, notes, runs=runs, texts=3)


def _slope(values: dict[str, Any], average: str) -> str:
    slope, error = values["slope"][average], values["error"][average]
    if slope is None:
        return "–"
    return f"{slope:+.3f}" + (f" ± {error:.1g}" if error is not None else "")
