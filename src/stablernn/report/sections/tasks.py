"""The study's table: every task with every model, unstable and under each constraint, and what the constraint costs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import fmean

import pandas as pd

from stablernn.records.record import Record
from stablernn.report.baseline import Shortfall, shortfall
from stablernn.report.evidence import Evidence
from stablernn.report.frame import EPSILON, distinguish, groups, select
from stablernn.report.labels import describe_constraint, on_each_side
from stablernn.report.load import STUDIES, directions, setting
from stablernn.report.names import MODEL_NAMES, PUBLISHED, approximation_name
from stablernn.report.replicates import UNPROVEN, Replicates
from stablernn.report.section import Block, Section
from stablernn.report.slices import TITLES, Slice
from stablernn.report.statistics import FEWEST_SEEDS, RULE, Comparison, compare, format_seeds, holm, seeds_required
from stablernn.report.table import Column, Entry, Table, Value, text
from stablernn.report.text import rate
from stablernn.utils.metrics import Metric

# Bai, Kolter & Koltun (2018), Table 1: peers of the study, not the study itself. ATIS: published reimplementations of
# the simple RNN and of the LSTM of Mesnil et al. (2013, 2015), the LSTM's the lowest of them (94.9 to 95.1).
PEERS: Mapping[str, Mapping[str, float]] = {
    "jsb": {"rnn": 8.91, "lstm": 8.45, "gru": 8.43},
    "ptb_char": {"rnn": 1.48, "lstm": 1.36, "gru": 1.37},
    "atis": {"rnn": 94.1, "lstm": 94.9},
    "ptb": {"rnn": 114.5, "lstm": 78.93, "gru": 92.48},
}


MEMORYLESS = ("lstm_gated_linear", "gru_gated_linear")


@dataclass(frozen=True)
class TaskCell:
    """The runs of one model, approximation and constraint on one task, and those of the unstable model of its kind.

    ``note``: settings that set it apart from a like cell.
    """

    data: Slice
    replicates: Replicates
    base: Replicates
    memoryless: Replicates  # without recurrent matrices (W = 0), otherwise alike, at the nearest λ: the control
    required: int  # seeds that the rule of decision asks for on this task
    note: str = ""

    @property
    def stability(self) -> str:
        return self.replicates.runs.stability.iloc[0]

    @property
    def approximation(self) -> str:
        return self.replicates.runs.approximation.iloc[0]

    @property
    def model(self) -> str:
        return self.replicates.runs.model.iloc[0]

    @property
    def directions(self) -> int:
        return directions(self.replicates.first)

    @property
    def metric(self) -> Metric:
        return self.replicates.first.metric

    @cached_property
    def comparison(self) -> Comparison | None:
        """With the unstable model; None for that itself, and with too few seeds."""
        if self.stability == "unstable":
            return None
        return compare(self.base.finished, self.replicates.finished, self.required)

    @cached_property
    def beside_control(self) -> Comparison | None:
        """With W = 0 at the nearest λ. A gain need not be of recurrence: the two may impose their λ differently."""
        if self.stability in ("unstable", *MEMORYLESS):
            return None
        return compare(self.memoryless.finished, self.replicates.finished, self.required)

    @cached_property
    def shortfall(self) -> Shortfall | None:
        """Against the baseline of the task."""
        return shortfall(self.data, self.replicates.ids)

    @cached_property
    def shortfall_of_base(self) -> Shortfall | None:
        """That of the unstable model."""
        return shortfall(self.data, self.base.ids)

    @cached_property
    def late_gain(self) -> float | None:
        """What the last quarter of training brought on validation, in the mean over seeds, on the natural scale.

        None where validation had stopped improving in each, or it is not known.
        """
        runs = list(self.replicates.finished.record)
        gains = [run.gained_late for run in runs if run.gained_late is not None]
        return fmean(gains) if gains and any(run.cut for run in runs) else None

    @property
    def improving(self) -> bool:
        """Whether training was ended while it brought more than the margin."""
        return (self.late_gain or 0.0) > self.metric.margin

    @property
    def verdict(self) -> str:
        """In words; empty for the unstable model, unless that is worse than the baseline."""
        if self.shortfall:
            return self.shortfall.label
        if self.stability == "unstable":
            return ""
        if self.shortfall_of_base:
            return f"unstable {self.shortfall_of_base.label}"
        fewest = min(len(self.base.finished), len(self.replicates.finished))
        complete = fewest >= self.required > FEWEST_SEEDS
        seeds = "" if complete else format_seeds(fewest, self.required)
        if not len(self.base.finished):
            return "no unstable model to compare with"
        comparison = self.comparison
        if comparison is None:
            of = "unstable: " if fewest < len(self.replicates.finished) else ""
            return f"too few seeds ({of}{seeds})"
        return comparison.format_verdict(seeds)

    @property
    def verdict_beside_control(self) -> str:
        """In words; empty where there is nothing to compare, and of a model worse than the baseline."""
        fewest = min(len(self.memoryless.finished), len(self.replicates.finished))
        seeds = format_seeds(fewest, self.required) if fewest < self.required else ""
        return self.beside_control.format_verdict(seeds) if self.beside_control and not self.shortfall else ""

    @property
    def name(self) -> str:
        """Of the model, with what sets it apart."""
        return _model(self.replicates.first) + (f" ({self.note})" if self.note else "")

    def describe(self) -> str:
        """In a few words."""
        seeds = format_seeds(len(self.replicates.finished), self.required)
        return f"{self.name}, {describe_constraint(self.replicates.first)} ({seeds})"


def published_value(data: str, model: str, stability: str) -> float | None:
    """Of the study on WikiText-2, of its peers elsewhere; None: there is none."""
    if data == "wikitext2":
        return PUBLISHED.get((model, stability))
    return PEERS.get(data, {}).get(model) if stability == "unstable" else None


def _model(record: Record) -> str:
    model = str(setting(record, "model.name"))
    return MODEL_NAMES.get(model, model)


def task_cells(data: Slice) -> list[TaskCell]:
    """The cells of a task, in the order of tables; trials of a search are none, and neither are runs at other limits.

    Runs of a cell differ in the seed alone; they are held against those that differ in the constraint as well.
    """
    runs = select(data.runs, ~data.runs.experiment.str.match("search|price_of_stability"))
    kind = ["model", "approximation", "k"]
    runs = runs.assign(
        note=distinguish(runs, "settings", kind),
        alike=runs.settings.map(lambda settings: json.dumps(settings, sort_keys=True)),
    )
    required = seeds_required(runs)
    unstable = select(runs, runs.stability == "unstable")
    bases = {of_kind: Replicates(base) for of_kind, base in groups(unstable, [*kind, "alike"])}
    zero = select(runs, runs.stability.isin(MEMORYLESS))
    controls = [(of_kind, Replicates(control)) for of_kind, control in groups(zero, [*kind, "alike", "constraint"])]
    cells = []
    for of_cell, cell in groups(runs, [*kind, "alike", "stability", "constraint"]):
        replicates = Replicates(cell)
        of_kind = [control for other, control in controls if other[:4] == of_cell[:4]]
        cells.append(
            TaskCell(
                data,
                replicates,
                bases.get(of_cell[:4], Replicates()),
                min(of_kind, key=partial(_apart, replicates), default=Replicates()),
                required,
                cell.note.iloc[0],
            )
        )
    return cells


def _rate(replicates: Replicates) -> float:
    """The certified λ, that of the constraint where nothing is proven, 1 where it names none."""
    proven, limit = replicates.proven[0], setting(replicates.first, "stability.constraint").get("limit")
    return proven if isinstance(proven, float) else 1.0 if limit is None else float(limit)


def _apart(first: Replicates, second: Replicates) -> float:
    """How far the λ of one are from those of the other."""
    return abs(_rate(first) - _rate(second))


def _adjusted(cells: Sequence[TaskCell]) -> list[float | None]:
    """Of each gain or loss its p-value by Holm, over the constraints that a model was trained under alike."""
    found: list[float | None] = [None] * len(cells)
    decides = [bool(cell.comparison and not cell.shortfall and not cell.shortfall_of_base) for cell in cells]
    kinds = [(cell.base.ids, counts) for cell, counts in zip(cells, decides, strict=True)]
    for kind in dict.fromkeys(kinds):
        places = [place for place, other in enumerate(kinds) if other == kind and kind[1]]
        compared = [comparison for place in places if (comparison := cells[place].comparison)]
        for verdict, chances in (("gain", [c.p_gain for c in compared]), ("loss", [c.p_loss for c in compared])):
            for place, comparison, chance in zip(places, compared, holm(chances) if chances else [], strict=True):
                found[place] = chance if comparison.verdict == verdict else found[place]
    return found


def _entries(cell: TaskCell, task: str, adjusted: float | None) -> list[Entry]:
    replicates, metric = cell.replicates, cell.metric
    record, finished = replicates.first, len(replicates.finished)
    k = f", k = {setting(record, 'truncation.k')}" if cell.approximation != "recurrent" else ""
    peer = published_value(cell.data.data, cell.model, cell.stability)
    loss, beside = cell.comparison, cell.beside_control
    return [
        task,
        cell.name,
        describe_constraint(record),
        f"{approximation_name(cell.approximation)}{k}",
        replace(replicates.mean, runs=None, format=f".{metric.places}f"),
        Value(finished, of=cell.required if finished < cell.required else None),
        cell.late_gain,
        *replicates.proven,
        peer if cell.approximation == "recurrent" else None,
        Value(loss.mean, loss.half()) if loss else None,
        cell.verdict or None,
        adjusted,
        _rate(cell.memoryless) if beside else None,
        Value(beside.mean, beside.half()) if beside else None,
        cell.verdict_beside_control or None,
    ]


def tasks_table(tasks: Iterable[Slice]) -> Table:
    """A line for each task, model, approximation and constraint, and for each baseline."""
    entries: list[list[Entry]] = []
    runs, metrics = [], {}
    for data in tasks:
        metric = metrics[data.data] = data.records[0].metric
        task = f"{TITLES.get(data.data, data.data)} ({data.profile})"
        cells = task_cells(data)
        for cell, adjusted in zip(cells, _adjusted(cells), strict=True):
            entries.append(_entries(cell, task, adjusted))
            runs.append((*cell.base.ids, *cell.replicates.ids))
        for name, value in data.baselines.items():
            score = Value(value, format=f".{metric.places}f")
            entries.append([task, name, None, "baseline", score, *[None] * 11])
            runs.append(())
    margins = ", ".join(
        f"{TITLES.get(name, name)}: {metric.title}, margin {metric.margin:g}" for name, metric in metrics.items()
    )
    notes = [
        f"task: with its profile; test: mean ± standard deviation over seeds ({margins})",
        RULE,
        "p (Holm): of a gain or a loss, adjusted for the constraints of the model that were compared",
        "loss to W = 0, and its verdict: the same against the model without recurrent matrices, the control of every "
        "condition, at the λ nearest to its own that was trained (λ of W = 0; beside a condition that proves nothing "
        "the largest); whether a gain is owed to the recurrent matrices, the table without them tells (recurrence); –: "
        "no such model was trained the same way",
        "seeds: of as many as the rule of decision asks for, where there are fewer",
        "late gain: where the number of epochs ended training before validation stopped improving, what its last "
        "quarter brought on validation, in the unit of the loss; where that is more than the margin, more training "
        "might change the verdict",
        f"λ: certified rate of contraction ({UNPROVEN}); k({EPSILON}): inputs that provably determine every "
        f"log-probability to {EPSILON} nats; both the largest of the seeds",
        *on_each_side(record for data in tasks for record in data.records),
        "published: Bai, Kolter & Koltun (2018), Table 1; on ATIS published reimplementations; on WikiText-2 the study "
        "itself; each with other sizes and settings",
        "baseline: a model worse than the best one (of Kneser-Ney models: order 3, of characters 6) decides nothing; "
        "not trained far enough: it is worse, its training was ended before validation stopped improving, and as much "
        "again, at the pace of its last quarter, would bring it to the baseline",
        "on " + ", ".join(sorted(set(pd.concat([data.runs.device for data in tasks])))),
    ]
    columns = [
        *(text("task"), text("model"), text("constraint"), text("approximation", drop=3)),
        Column("test", ".2f"),
        Column("seeds"),
        Column("late gain", ".3f", drop=3),
        Column("λ", rate, drop=2),
        Column(f"k({EPSILON})", ",d", unit="inputs"),
        Column("published", "g", drop=1),
        Column("loss", "+.3f", spread="to the ends of the one-sided 95 % intervals"),
        Column("verdict"),
        Column("p (Holm)", ".1g", drop=5),
        Column("λ of W = 0", rate, drop=4),
        Column("loss to W = 0", "+.3f", spread="to the ends of the one-sided 95 % intervals", drop=4),
        Column("verdict to W = 0", drop=4),
    ]
    return Table("The study’s tasks", columns, entries, notes, runs=runs)


def _blocks(evidence: Evidence) -> list[Block]:
    return [Block("All tasks", [], [tasks_table(evidence.tasks)])] if evidence.tasks else []


SECTION = Section(
    "tasks",
    "The study’s tasks",
    "Every task with every model, and what each constraint costs by the rule of decision.",
    _blocks,
    "tasks",
    ("C1",),
    STUDIES,
)
