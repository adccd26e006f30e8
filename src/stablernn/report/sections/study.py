"""The study's table as one sees it first: a row a task and model, a column a constraint, a mark a verdict."""

from collections.abc import Callable, Sequence

from stablernn.report.load import setting
from stablernn.report.names import MODEL_NAMES
from stablernn.report.sections.tasks import TaskCell, published_value, task_cells
from stablernn.report.slices import TITLES, Slice
from stablernn.report.table import Column, Entry, Table, Value, text
from stablernn.report.text import listed

MARKS = {"gain": "▲", "no loss": "✓", "loss": "▼", "undecided": "?"}
# Of ``conf/stability``: what stands in each column.
COLUMNS = {
    "unstable": ("unstable",),
    "stable": ("stable",),
    "as coded": ("rnn_as_coded", "lstm_as_coded"),
    "W = 0": ("lstm_gated_linear", "gru_gated_linear"),
    "W_o alone": ("lstm_output_gate",),
    "cascade": ("lstm_cascade",),
}
OURS = ("W = 0", "W_o alone", "cascade")
MODELS = ("rnn", "lstm", "gru")


def study_table(tasks: Sequence[Slice]) -> Table:
    """Test scores of recurrent models, each with what the rule of decision says of it beside the unstable one."""
    entries: list[list[Entry]] = []
    unproven: dict[str, None] = {}
    for data in tasks:
        cells = [cell for cell in task_cells(data) if cell.approximation == "recurrent" and not cell.note]
        bar = data.best_baseline
        for model in MODELS:
            cell_of = {
                head: max((c for c in cells if c.model == model and c.stability in names), key=_limit, default=None)
                for head, names in COLUMNS.items()
            }
            if cell_of["unstable"] is None:
                continue
            places = cell_of["unstable"].metric.places
            ours = [cell for head, cell in cell_of.items() if cell and head in OURS]
            if not all(isinstance(cell.replicates.proven[0], float) for cell in ours):
                unproven[data.profile] = None
            published = published_value(data.data, model, "unstable")
            entries.append(
                [
                    f"{TITLES.get(data.data, data.data)}, {data.metric.name} ({data.profile})",
                    MODEL_NAMES.get(model, model),
                    Value(published) if published is not None else None,
                    *(_entry(cell) if cell else None for cell in cell_of.values()),
                    Value(bar[1], format=f".{places}f") if bar else None,
                ]
            )
    columns = [
        *(text("task"), text("model")),
        Column("published", "g"),
        *(Column(head) for head in COLUMNS),
        Column("baseline"),
    ]
    notes = [
        "test scores, mean over seeds (in brackets: how many, where fewer than the rule of decision asks for)",
        "beside the unstable model: ▲ a gain, ✓ no loss, ▼ a loss, ? undecided (docs/protocol.md); × worse than the "
        "baseline, a simple model of the last few inputs at most, so that it decides nothing; … training ended "
        "while its last quarter still brought more than the margin",
        "stable: ‖W‖₂ ≤ 0.999 (RNN), the study’s condition as stated (LSTM), incremental stability (GRU); W = 0: no "
        "recurrent matrices, the control of every condition; W_o alone, cascade: ours (docs/stability.md), like W = 0 "
        f"at λ = 0.999{_certified(list(unproven))}; as coded: the condition proves nothing",
        "published: of the unstable model; on music and characters Bai, Kolter & Koltun (2018), on slots "
        "reimplementations, on WikiText-2 the study, each with other sizes and schedules",
    ]
    return Table("Test scores: unstable, and under each constraint", columns, entries, notes)


def _certified(without: Sequence[str]) -> str:
    """That the trained models are certified, but for those of some profiles."""
    return ", certified after training" + (f", but for the rows {listed(without)}" if without else "")


def _limit(cell: TaskCell) -> float:
    """Of the constraint: a column shows the weakest of those tried."""
    return float(setting(cell.replicates.first, "stability.constraint").get("limit") or 0)


def _entry(cell: TaskCell) -> Value:
    finished = len(cell.replicates.finished)
    seeds = f" ({finished})" if finished < cell.required else ""
    comparison = cell.comparison
    mark = " ×" if cell.shortfall else "…" * cell.improving
    if comparison and not (cell.shortfall or cell.shortfall_of_base):
        mark += f" {MARKS[comparison.verdict]}"
    return Value(
        cell.replicates.mean.value, runs=cell.replicates.ids, format=_written(cell.metric.places, mark + seeds)
    )


def _written(places: int, after: str) -> Callable[[float], str]:
    return lambda value: f"{value:.{places}f}{after}"
