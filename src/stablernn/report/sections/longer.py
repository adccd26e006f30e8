"""Models of the study's table trained for more epochs: does a verdict of it change?"""

from dataclasses import replace

from stablernn.report.labels import describe_constraint
from stablernn.report.load import STUDIES
from stablernn.report.section import Section, of_slice
from stablernn.report.sections.tasks import TaskCell, task_cells
from stablernn.report.slices import Slice
from stablernn.report.statistics import RULE
from stablernn.report.table import Column, Entry, Table, Value, text


def longer_table(data: Slice, tasks: list[Slice]) -> Table:
    """A line for each model that was trained longer, beside the same one of the study's table.

    Args:
        data: the longer runs of a task.
        tasks: of the study's table.
    """
    usual = {_kind(cell): cell for of in tasks if of.name == data.name for cell in task_cells(of)}
    cells = task_cells(data)
    metric = data.metric
    entries: list[list[Entry]] = []
    for cell in cells:
        before = usual.get(_kind(cell))
        record = cell.replicates.first
        entries.append([cell.name, describe_constraint(record), *_half(before), *_half(cell)])
    score = f".{metric.places}f"
    halves = [
        [
            Column(f"epochs{when}", ".0f"),
            Column(f"test{when}", score, unit=metric.name),
            Column(f"loss{when}", "+.3f", spread="to the ends of the one-sided 95 % intervals", unit=metric.scale_unit),
            text(f"verdict{when}"),
        ]
        for when in ("", ", longer")
    ]
    notes = [
        f"epochs: until the end of training, mean over seeds; test: {metric.name}, mean ± standard deviation (seeds)",
        RULE,
        "the unstable model of each half is that which was trained as long",
    ]
    runs = [
        (*(usual[_kind(cell)].replicates.ids if _kind(cell) in usual else ()), *cell.replicates.ids) for cell in cells
    ]
    columns = [text("model"), text("constraint"), *(column for half in halves for column in half)]
    return Table(f"Trained longer: {data.caption}", columns, entries, notes, runs=runs)


def _kind(cell: TaskCell) -> tuple[str, str, str]:
    return cell.model, cell.approximation, describe_constraint(cell.replicates.first)


def _half(cell: TaskCell | None) -> list[Entry]:
    """Epochs, score, loss and verdict of one length of training."""
    if cell is None:
        return [None] * 4
    loss, finished = cell.comparison, cell.replicates.finished
    return [
        float(finished.epochs.mean()) if len(finished) else None,
        replace(cell.replicates.summary, runs=None),
        Value(loss.mean, loss.half()) if loss else None,
        cell.verdict or None,
    ]


SECTION = Section(
    "longer",
    "Trained longer",
    "Whether more epochs change a verdict of the study’s tasks.",
    lambda evidence: [of_slice(data, [], longer_table(data, evidence.tasks)) for data in evidence.longer],
    "longer",
    ("C1",),
    STUDIES,
)
