"""What models do with their own outputs, by how they were trained: teacher forcing against scheduled sampling."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from stablernn.config.schema import DECAYS
from stablernn.records.record import Record
from stablernn.report.labels import over_seeds
from stablernn.report.load import Analyses
from stablernn.report.sections.contraction import STAGE_NAMES
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

SHOWN = (1, 4, 16, 32)
_TRUE = "true inputs"


def exposure_table(analyses: Analyses) -> Table:
    """A line for each model and way of training, at its best evaluation and at the end; means over its seeds."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric.of_loss
    horizon = options["horizon"]
    shown = [j for j in SHOWN if j <= horizon]
    unit = f"{metric.scale_unit} a {metric.item}"
    places, difference = f".{metric.places}f", f"+.{metric.places}f"
    columns = [
        *(text("model"), text("stability"), text("trained on"), text("weights"), key("seeds")),
        Column("true inputs", places, unit=unit),
        Column("own inputs", places, unit=unit),
        *(Column(f"after {j}", difference, f"rise after {j} own outputs", unit=unit) for j in shown),
        Column("own items", places, unit=unit),
        Column("own items, end", places, unit=unit),
    ]
    entries: list[list[Entry]] = []
    runs = []
    grouped = sorted(over_seeds(analyses), key=lambda group: _rank(group[2][0][0]))
    for model, stability, group in grouped:
        for stage in ("best", "last"):
            seen = [result["stages"][stage] for _, result in group]
            rises = [
                [metric.scale * (own - true) for own, true in zip(one["own"], one["true"], strict=True)] for one in seen
            ]
            entries.append(
                [
                    *(model, stability, _inputs(group[0][0]), STAGE_NAMES[stage], len(seen)),
                    *(_mean(metric, [one[kind][1:] for one in seen]) for kind in ("true", "own")),
                    *(Value.mean([rise[j] for rise in rises]) for j in shown),
                    _mean(metric, [one["drawn"][:1] for one in seen]),
                    _mean(metric, [one["drawn"][len(one["drawn"]) // 2 :] for one in seen]),
                ]
            )
            runs.append(tuple(record.id for record, _ in group))
    notes = [
        f"{unit}, mean over seeds ± standard deviation: of {counted(options['samples'], 'continuation')} of each of "
        f"{counted(options['streams'], 'piece')} of {options['split']}, behind {options['prefix']} true {metric.items}",
        f"true inputs, own inputs: the loss of the data, mean over the next {counted(horizon, metric.item)}; after j: "
        "how much larger it is where the last j inputs are the model's own outputs, drawn one by one",
        "for the law of the data, too, it is larger, as what is drawn goes another way than the data, and for a model "
        "that ignores its inputs it is not: the column that compares is that of own inputs",
        "own items: the loss of what is drawn, of the first and over the second half; of the law of the data both are "
        "the loss with true inputs",
        "trained on: true inputs, or by scheduled sampling a share of them that decays to a half after so many updates",
    ]
    return Table("Own outputs fed back", columns, entries, notes, runs=runs, name="exposure")


def scheduled_sampling(analyses: Analyses) -> str:
    """Teacher forcing beside the schedule whose loss behind own outputs is least, at the end of training."""
    metric = analyses[0][0].metric.of_loss
    losses: dict[str, tuple[float, float]] = {}
    for _, _, group in over_seeds(analyses):
        ends = [result["stages"]["last"] for _, result in group]
        true, own = (fmean(fmean(end[kind][1:]) for end in ends) * metric.scale for kind in ("true", "own"))
        losses[_inputs(group[0][0])] = true, own
    forced = losses.pop(_TRUE, None)
    if forced is None or not losses:
        return ""
    best = min(losses, key=lambda name: losses[name][1])
    (true, own), (true_of_best, own_of_best) = forced, losses[best]
    unit, places = f"{metric.scale_unit} a {metric.item}", metric.places
    return (
        f"trained on true inputs {true:.{places}f} {unit} with them and {own:.{places}f} behind its own outputs; by "
        f"the schedule {best} {true_of_best:.{places}f} and {own_of_best:.{places}f}"
    )


def _mean(metric: Metric, losses: Sequence[Sequence[float]]) -> Value:
    return Value.mean([metric.scale * fmean(one) for one in losses])


def _sampling(record: Record) -> dict[str, Any]:
    return record.config["training"].get("sampling") or {}


def _inputs(record: Record) -> str:
    """How the inputs of training were chosen."""
    if not (sampling := _sampling(record)):
        return _TRUE
    least = f", at least {sampling['least']:g}" if sampling["least"] else ""
    return f"{sampling['decay'].replace('_', ' ')} {sampling['half']:,}{least}"


def _rank(record: Record) -> int:
    """The order of lines of one model: true inputs first."""
    return (None, *DECAYS).index(_sampling(record).get("decay"))
