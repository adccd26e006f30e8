"""C1 on tasks that are trained to the end: is there a loss beyond the task's margin?"""

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge
from stablernn.report.load import Section, setting
from stablernn.report.sections.tasks import TaskCell, bar_of, describe_cell, task_cells

_OUTCOMES = {
    "gain": Outcome.HOLDS,
    "no loss": Outcome.HOLDS,
    "loss": Outcome.FAILS,
    "undecided": Outcome.UNDECIDED,
}


def stable_on_tasks(evidence: Evidence) -> list[Judgement]:
    """A judgement a task that is no text: the study's stable models against the unstable ones, recurrent."""
    judged = {section.text for section in evidence.study}
    return [found for section in evidence.tasks if section.text not in judged and (found := _judged(section))]


def _judged(section: Section) -> Judgement | None:
    cells = [
        cell
        for cell in task_cells(section)
        if setting(cell.runs[0], "approximation.name") == "recurrent"
        and setting(cell.runs[0], "stability.name") == "stable"
    ]
    if not cells:
        return None
    metric, bar = section.records[0].metric, bar_of(section)
    first, second = ("unstable", "stable") if metric.larger else ("stable", "unstable")
    control = (
        f"; every model beats the control ({bar[0]}: {bar[1]:g})" if bar and not any(c.untrained for c in cells) else ""
    )
    return judge(
        section,
        [_part(cell) for cell in cells],
        f"test {metric.title} of the {first} models minus that of the {second} ones, margin {metric.margin:g}{control}",
        "Welch’s interval over seeds, one-sided at 95 %, with the variance of a bootstrap over the test data added",
    )


def _part(cell: TaskCell) -> Part:
    runs = ids([*cell.base, *cell.runs])
    if cell.untrained:
        return Part(Outcome.UNTRAINED, f"{describe_cell(cell)}: {cell.verdict}", runs)
    found = cell.comparison
    if found is None:
        return Part(Outcome.UNDECIDED, f"{describe_cell(cell)}: undecided, too few seeds", runs)
    return Part(_OUTCOMES[found.verdict], f"{describe_cell(cell)}: {found.words}", runs)
