"""Tasks made to ask for memory: is each solved, or is the model at chance?"""

import math
from collections.abc import Sequence
from dataclasses import replace

from stablernn.report.evidence import Evidence
from stablernn.report.frame import groups, select
from stablernn.report.labels import constraint_name
from stablernn.report.load import setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.replicates import Replicates
from stablernn.report.section import Block, Section
from stablernn.report.slices import TITLES, Slice
from stablernn.report.table import Column, Entry, Table, Value, text

SOLVED = 20  # times less than chance


def kinds(losses: Sequence[float], bar: float, margin: float) -> list[str]:
    """Of each seed ``"solved"``, ``"at chance"`` or neither (``""``); the loss of one that diverged is NaN, neither."""
    return ["solved" if loss <= bar / SOLVED else "at chance" if loss >= bar - margin else "" for loss in losses]


def verdict(losses: Sequence[float], bar: float, margin: float) -> str:
    """What all seeds are, or how many are solved or at chance; the loss of one that diverged is NaN."""
    if losses and all(loss > bar + margin for loss in losses):
        return "worse than chance"
    each = kinds(losses, bar, margin)
    for kind in ("solved", "at chance"):
        if losses and each.count(kind) == len(losses):
            return kind
    counts = [f"{kind} in {each.count(kind)} of {len(losses)}" for kind in ("solved", "at chance") if kind in each]
    return ", ".join(counts) or ("diverged" if all(map(math.isnan, losses)) else "better than chance")


def synthetic_table(tasks: Sequence[Slice]) -> Table:
    """A line for each task and model, the best of a task first."""
    entries: list[list[Entry]] = []
    runs = []
    for data in tasks:
        for cell in cells_of(data):
            entries.append(_entries(data, cell))
            runs.append(cell.ids)
    margins = ", ".join(dict.fromkeys(f"{data.metric.name} {data.metric.margin:g}" for data in tasks))
    notes = [
        "test: cross-entropy in nats a position (adding problem: mean squared error), mean ± standard deviation",
        "baseline: of a model that knows nothing of what it has read, or its length alone, exactly (docs/tasks.md)",
        f"solved: at most 1/{SOLVED} of the baseline in every seed; at chance: in no seed better than it by more than "
        f"the margin ({margins}); worse than chance: in every seed above it by more",
    ]
    columns = [
        *(text("task"), text("model"), text("constraint")),
        Column("parameters", ",d", drop=1),
        Column("sees", ",d", unit="inputs that an output sees; all: recurrent"),
        Column("test", ".4f"),
        Column("seeds"),
        Column("baseline", ".4f"),
        text("verdict"),
    ]
    return Table("Synthetic tasks", columns, entries, notes, runs=runs)


def cells_of(data: Slice) -> list[Replicates]:
    """Of each model, constraint and k the runs that differ in the seed alone; of several settings each."""
    runs = select(data.runs, ~data.runs.experiment.str.startswith("search"))
    cells = [Replicates(cell) for _, cell in groups(runs, ["cell"])] if len(runs) else []
    return sorted(cells, key=lambda cell: data.metric.cost(cell.finished.test.mean()) if cell.values else math.inf)


def task_name(data: Slice) -> str:
    """As tables have it, with T."""
    dataset = data.records[0].config["dataset"]
    length = dataset.get("blanks", dataset.get("length"))
    return f"{TITLES.get(data.data, data.data)}{f' T = {length}' if length else ''}"


def _entries(data: Slice, cell: Replicates) -> list[Entry]:
    record = cell.first
    name, model = str(cell.runs.name.iloc[0]), str(setting(record, "model.name"))
    note = cell.runs.note.iloc[0]
    bar = data.best_baseline[1] if data.best_baseline else math.nan
    return [
        f"{task_name(data)} ({data.profile})",
        MODEL_NAMES.get(model, model) + (f" ({note})" if note else ""),
        name if name in STABILITIES else constraint_name(record, name),
        record.model.get("parameters"),
        "all" if cell.runs.approximation.iloc[0] == "recurrent" else int(cell.runs.k.iloc[0]),
        replace(cell.mean, runs=None, diverged=cell.diverged),
        len(cell.finished),
        Value(bar),
        verdict([*cell.values, *[math.nan] * cell.diverged], bar, data.metric.margin),
    ]


def _blocks(evidence: Evidence) -> list[Block]:
    return [Block("Synthetic tasks", [], [synthetic_table(evidence.synthetic)])] if evidence.synthetic else []


SECTION = Section(
    "synthetic",
    "Synthetic tasks",
    "Copy memory and the adding problem, which ask for memory over hundreds of inputs; sources with targets.",
    _blocks,
    "synthetic",
    ("C4",),
)
