"""C1: what stability costs, by the rule of decision, on every task."""

from dataclasses import replace

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judge
from stablernn.report.sections.tasks import MEMORYLESS, TaskCell, task_cells
from stablernn.report.slices import Slice
from stablernn.utils.wording import counted

OUTCOMES = {
    "gain": Outcome.HOLDS,
    "no loss": Outcome.HOLDS,
    "loss": Outcome.FAILS,
    "undecided": Outcome.UNDECIDED,
}
INTERVAL = "Welch’s interval over seeds, one-sided at 95 %, with the variance of a bootstrap over the test data added"


def price_of_stability(evidence: Evidence) -> list[Judgement]:
    """A judgement a task: the study's stable models against the unstable ones, recurrent, at their longest k.

    Certified conditions of this project stand beside it, whatever they cost. The study has no models of both
    directions, so no stable one is missing.
    """
    tasks = {data.text: data for data in (*evidence.tasks, *evidence.study)}
    made = [_judged(data.abridged()) for data in tasks.values()]
    return [judgement for judgement in made if judgement]


def _judged(data: Slice) -> Judgement | None:
    cells = [cell for cell in task_cells(data) if cell.approximation == "recurrent"]
    stable = [cell for cell in cells if cell.stability == "stable"]
    there = {(cell.model, cell.note) for cell in stable}
    parts = [_cost(cell) for cell in stable]
    parts += [
        Finding(Outcome.UNDECIDED, f"{cell.name}: undecided, no stable run", cell.replicates.ids)
        for cell in cells
        if cell.stability == "unstable" and (cell.model, cell.note) not in there and cell.directions == 1
    ]
    if not parts:
        return None
    others = [
        cell for cell in cells if cell.stability not in ("unstable", "stable", *MEMORYLESS) and _is_certified(cell)
    ]
    beside = [_cost(cell) for cell in others]
    parts += [Finding(None, cost.text, cell.replicates.ids) for cell, cost in zip(others, beside, strict=True)]
    metric = data.metric
    first, second = ("unstable", "stable") if metric.larger else ("stable", "unstable")
    evidence = f"test {metric.title} of the {first} models minus that of the {second} ones, margin {metric.margin:g}"
    return replace(
        judge(data, parts, evidence, INTERVAL), otherwise=any(cost.outcome is Outcome.HOLDS for cost in beside)
    )


def _is_certified(cell: TaskCell) -> bool:
    """Whether every run is certified, and there are enough of them to be compared."""
    return isinstance(cell.replicates.proven[0], float) and cell.comparison is not None


def _cost(cell: TaskCell) -> Finding:
    base, stable = cell.base, cell.replicates
    runs = (*base.ids, *stable.ids)
    if cell.shortfall or cell.shortfall_of_base:
        return Finding(Outcome.WORSE, f"{cell.describe()}: {cell.verdict}", runs)
    comparison = cell.comparison
    outcome = OUTCOMES[comparison.verdict] if comparison else Outcome.UNDECIDED
    words = [comparison.words if comparison else f"undecided, {cell.verdict}"]
    if cell.improving:
        words.append(f"its last quarter of training still brought {cell.late_gain:.3f} {cell.metric.scale_unit}")
    for kind, replicates in (("unstable", base), ("stable", stable)):
        if replicates.diverged:
            words.append(f"{replicates.diverged} of {counted(len(replicates.runs), f'{kind} run')} diverged")
            failed = kind == "stable" and not stable.values and len(base.values) > 1
            outcome = Outcome.FAILS if failed else Outcome.UNDECIDED
    return Finding(outcome, f"{cell.describe()}: {', '.join(words)}", runs)


CLAIM = Claim(
    "C1",
    "Is stability free?",
    "Stability can be imposed on benchmark models without loss.",
    price_of_stability,
    "reproduce",
)
