"""Recurrent against feed-forward training at the same k."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from stablernn.report.curves import DASHES, constraint_colours, mean_over_seeds
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import constraint_name
from stablernn.report.load import setting
from stablernn.report.names import APPROXIMATION_NAMES, STABILITIES
from stablernn.report.replicates import Replicates
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.sections.tasks import MEMORYLESS
from stablernn.report.slices import Slice, rows, trained_for
from stablernn.report.statistics import FEWEST_SEEDS, Comparison, compare, difference, percent, seeds_required
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import signed, span
from stablernn.utils.metrics import PERPLEXITY


@dataclass
class Pair:
    """The runs of one model under one constraint at one k, trained both ways or one.

    Attributes:
        model: as readers know it, with the settings that set it apart.
        constraint: by its name, with the options that set it apart.
        required: seeds a cell that the rule of decision asks for.
        cells: by approximation.
    """

    model: str
    constraint: str
    k: int
    required: int = FEWEST_SEEDS
    cells: dict[str, Replicates] = field(default_factory=dict)

    @property
    def both(self) -> tuple[Replicates, Replicates]:
        """Recurrent and feed-forward."""
        return self.cells.get("recurrent", Replicates()), self.cells.get("feedforward", Replicates())

    @property
    def runs(self) -> pd.DataFrame:
        return pd.concat([cell.runs for cell in self.both])

    @property
    def whole(self) -> bool:
        return all(len(cell.runs) for cell in self.both)

    @property
    def label(self) -> str:
        """The constraint as readers know it; the study's by their names."""
        cell = next(iter(self.cells.values()))
        return self.constraint if self.constraint in STABILITIES else constraint_name(cell.first, self.constraint)

    @cached_property
    def comparison(self) -> Comparison | None:
        """Of feed-forward with recurrent; None with too few seeds."""
        recurrent, feedforward = self.both
        return compare(recurrent.finished, feedforward.finished, self.required)

    @property
    def change(self) -> float | None:
        """Feed-forward to recurrent, in ``unit_of_change``."""
        recurrent, feedforward = self.both
        change = difference(recurrent.finished, feedforward.finished)
        return percent(change) if self.whole and recurrent.first.metric is PERPLEXITY else change


def unit_of_change(data: Slice) -> str:
    """Per cent of the perplexity, else the task's natural scale."""
    return "%" if data.metric is PERPLEXITY else data.metric.scale_unit


def pairs(data: Slice) -> list[Pair]:
    """Runs by model, constraint and k, in the order of tables.

    Where the data are sequences, which recurrent models are trained on whole, one stands beside every k.
    """
    made: dict[tuple[str, str, int], Pair] = {}
    every, whole, required = rows(data), "sequences" in data.records[0].data, seeds_required(data.runs)
    recurrent = {
        (row.name, name): cell for row in every if row.approximation == "recurrent" for name, cell in row.cells.items()
    }
    for row in every:
        for name, cell in row.cells.items():
            if whole and row.approximation == "recurrent":
                continue
            pair = made.setdefault((row.name, name, row.k), Pair(row.name, name, row.k, required))
            pair.cells[row.approximation] = cell
            if whole and (row.name, name) in recurrent:
                pair.cells["recurrent"] = recurrent[row.name, name]
    trained = {name for name, *_ in recurrent}  # what is feed-forward by construction has no other side
    made = {kind: pair for kind, pair in made.items() if pair.model in trained}
    models, constraints = (list(dict.fromkeys(kind[at] for kind in made)) for at in (0, 1))
    return sorted(
        made.values(), key=lambda pair: (models.index(pair.model), constraints.index(pair.constraint), pair.k)
    )


def missing_control(data: Slice) -> str:
    """A note where certified models were trained feed-forward and none without recurrent matrices was; else empty."""
    trained = {str(setting(pair.cells["feedforward"].first, "stability.name")) for pair in pairs(data) if pair.whole}
    if not trained - {"unstable"} or trained & set(MEMORYLESS):
        return ""
    return "no model without recurrent matrices (W = 0) was trained feed-forward: what they add there is not known"


def sweep_table(data: Slice) -> Table | None:
    """A line for each model and k; None where no k was trained both ways."""
    made = {(pair.model, pair.constraint, pair.k): pair for pair in pairs(data)}
    if not any(pair.whole for pair in made.values()):
        return None
    constraints, unit = {pair.constraint: pair.label for pair in made.values()}, unit_of_change(data)
    columns = [text("model"), key("k")]
    for name in constraints.values():
        kinds = [f"{name} {approximation}" for approximation in APPROXIMATION_NAMES.values()]
        heads = zip((name, "feed-f."), kinds, strict=True)
        columns += [Column(head, f".{data.metric.places}f", kind) for head, kind in heads]
        columns.append(Column(f"± {unit}", signed if unit == "%" else "+.3f", f"{name} difference {unit}"))
    entries: list[list[Entry]] = []
    for model in dict.fromkeys(pair.model for pair in made.values()):
        for k in sorted({pair.k for pair in made.values() if pair.model == model}):
            entries.append([model, k])
            for name in constraints:
                pair = made.get((model, name, k), Pair(model, name, k))
                entries[-1] += [*(cell.summary for cell in pair.both), Value(pair.change, runs=tuple(pair.runs.id))]
    sequences, items = "sequences" in data.records[0].data, data.metric.items
    trained = "trained on whole sequences" if sequences else "backpropagation through k steps, state carried on"
    notes = [
        f"test {data.metric.name}, mean ± standard deviation (seeds); unstable, stable: recurrent, {trained}",
        f"feed-f.: feed-forward, exactly k {items} a position; ± {unit}: against recurrent, over all seeds of each",
        *["every run sees the same words, so a small k makes more updates: compare along a line, not down a column"]
        * (not sequences),
        *[data.baseline_note] * bool(data.baseline),
        *filter(None, [missing_control(data)]),
        trained_for(pd.concat([pair.runs for pair in made.values()])),
    ]
    title = f"Recurrent and feed-forward training on {data.caption}"
    return Table(title, columns, entries, notes, runs=[()] * len(entries))


def swept(evidence: Evidence) -> list[Slice]:
    """The slices of the sweep, and the tasks, in which some k was trained both ways."""
    texts = {data.text for data in evidence.swept}
    tasks = [_without_trials(data) for data in evidence.tasks if data.text not in texts]
    return [data for data in (*evidence.swept, *tasks) if data.records and any(pair.whole for pair in pairs(data))]


def _without_trials(data: Slice) -> Slice:
    return replace(data, records=tuple(run for run in data.records if not run.experiment.startswith("search")))


def sweep_curves(data: Slice) -> Figure | None:
    """Test score against the k of training; none where a recurrent model has no k."""
    drawing, made = Drawing(), pairs(data)
    if "sequences" in data.records[0].data:
        return None
    colours = constraint_colours((pair.constraint.partition(",")[0], pair.label) for pair in made)
    for pair in made:
        for approximation, name in APPROXIMATION_NAMES.items():
            curve = Curve(f"{pair.label}, {name}", colours[pair.label], DASHES[approximation])
            mean_over_seeds(drawing, pair.model, curve, pair.k, pair.cells.get(approximation, Replicates()))
    apart = [pair.change for pair in made if pair.change is not None]
    ends = span([f"{value:+.0f}" for value in (min(apart), max(apart))]) if apart else "an unknown number of"
    return drawing.figure(
        "truncation_sweep",
        f"Trained at the same k, feed-forward lies {ends} % from recurrent",
        "Recurrent models trained with k steps of backpropagation, feed-forward models with k words of context. "
        "All see the same words, so a larger k makes fewer updates: compare curves at one k.",
        Axis("k in training", ticks=tuple(sorted({pair.k for pair in made}))),
        Axis("test perplexity"),
    )


def _blocks(evidence: Evidence) -> list[Block]:
    return [of_slice(data, [sweep_curves(data)], sweep_table(data)) for data in swept(evidence)]


SECTION = Section(
    "training",
    "Trained recurrent and feed-forward",
    "Recurrent and feed-forward models trained on the same batches at the same k.",
    _blocks,
    "truncation_sweep",
    ("C3",),
    ("truncation_sweep",),
)
