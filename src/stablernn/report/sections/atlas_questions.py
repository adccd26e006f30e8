"""What the atlas says of its questions, by rules; all but that of short sequences were fixed before the runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.labels import constraint_name
from stablernn.report.load import Analyses, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.replicates import Replicates
from stablernn.report.sections.synthetic import cells_of, kinds, task_name, verdict
from stablernn.report.sections.truncation import farthest, informative_context, measured_context
from stablernn.report.slices import Slice
from stablernn.report.statistics import compare
from stablernn.report.table import Column, Value
from stablernn.report.text import listed, span

PLAIN, GATES, INPUT_GATES = "no mechanism", "gates", "gates of the input alone"
INITIAL, SCALES, OTHER, OWN = "initial W and its constraint", "time scales", "others", "your own"
_FAMILIES = {
    PLAIN: ("rnn",),
    GATES: ("lstm", "lstm_fixed", "gru"),
    INPUT_GATES: ("min_gru", "min_lstm", "qrnn", "sru"),
    INITIAL: ("irnn", "np_rnn", "rin", "orthogonal", "unitary", "indrnn"),
    SCALES: ("clockwork", "statistical", "scrn", "fru", "narx", "mist", "dilated"),
}
TEST = Column("test", ".4f", spread="half of the 95 % interval")
TENS = 100  # inputs: what is feed-forward after fewer is so after tens of them
DRIFT = 0.1  # from 1, of the singular values of a matrix that counts as orthogonal
_ANALYSES = ("certificate", "certificate_on_text", "gradient_horizon", "contraction", "truncation")


def family(model: str) -> str:
    """The kind of mechanism; ``OWN`` of a model that this package does not have."""
    return families().get(model, OTHER if model in MODEL_NAMES else OWN)


def families() -> dict[str, str]:
    """Of every listed model the kind, in the order of the kinds."""
    return {model: name for name, models in _FAMILIES.items() for model in models}


@dataclass(frozen=True)
class Mapped:
    """One mechanism on one task: the runs that differ in the seed alone, and their analyses by name."""

    data: Slice
    cell: Replicates
    analyses: dict[str, Analyses]

    def of(self, name: str) -> list[dict[str, Any]]:
        """The results of an analysis."""
        return [result for _, result in self.analyses.get(name, ())]

    @property
    def model(self) -> str:
        return str(setting(self.cell.first, "model.name"))

    @property
    def stability(self) -> str:
        return str(setting(self.cell.first, "stability.name"))

    @property
    def task(self) -> str:
        return task_name(self.data)

    @property
    def name(self) -> str:
        note = self.cell.runs.note.iloc[0]
        return self.plain_name + (f" ({note})" if note else "")

    @property
    def plain_name(self) -> str:
        """Without the settings that tell two of a kind apart."""
        return MODEL_NAMES.get(self.model, self.model)

    @property
    def constraint(self) -> str:
        name = str(self.cell.runs.name.iloc[0])
        return name if name in STABILITIES else constraint_name(self.cell.first, name)

    @property
    def label(self) -> str:
        """Mechanism, and constraint where it has one."""
        return self.name if self.stability == "unstable" else f"{self.name}, {self.constraint}"

    @property
    def bar(self) -> float:
        """The baseline's score."""
        return self.data.best_baseline[1] if self.data.best_baseline else math.nan

    @cached_property
    def verdict(self) -> str:
        """By the rule of synthetic tasks; others have no chance level but the baseline that the task has to beat."""
        if self.cell.values and math.isnan(self.bar):
            return "no baseline is known"
        words = verdict(self._losses, self.bar, self.data.metric.margin)
        return words if self.data.synthetic else words.replace("chance", "the baseline")

    @property
    def solved(self) -> bool:
        """In every seed."""
        return 0 < len(self._losses) == self.solved_seeds

    @property
    def solved_seeds(self) -> int:
        return kinds(self._losses, self.bar, self.data.metric.margin).count("solved")

    @property
    def seeds(self) -> int:
        """Those that diverged too."""
        return len(self._losses)

    @property
    def _losses(self) -> list[float]:
        return [*self.cell.values, *[math.nan] * self.cell.diverged]

    @property
    def mark(self) -> str:
        """Of a table with little room: solved, or on a real task better than the baseline; or at chance."""
        if math.isnan(self.bar):
            return ""
        return "✓" if self.solved or self.verdict == "better than the baseline" else "×" if self.learnt_nothing else ""

    @property
    def learnt_nothing(self) -> bool:
        """Whether no seed is better than the baseline by the margin, so that it decides nothing."""
        return not any(loss < self.bar - self.data.metric.margin for loss in self.cell.values)

    @property
    def context(self) -> int | str | None:
        """k(0.01) as measured, of the seed that needs most."""
        results = self.of("truncation")
        if not results:
            return None
        return farthest([measured_context(result) for result in results], max(result["k"][-1] for result in results))

    @property
    def most(self) -> float:
        """The largest k of that measurement that cuts most positions."""
        return min(map(informative_context, self.of("truncation")), default=math.inf)


def mapped(data: Slice, evidence: Evidence) -> list[Mapped]:
    """The mechanisms on a task, the best first."""
    found = {name: evidence.of(data, name) for name in _ANALYSES}

    def of(ids: tuple[str, ...]) -> dict[str, Analyses]:
        return {name: [entry for entry in every if entry[0].id in ids] for name, every in found.items()}

    return [Mapped(data, cell, of(cell.ids)) for cell in cells_of(data)]


def sentences(every: Sequence[Mapped]) -> list[str]:
    """One for each question to which there are records."""
    rules: Sequence[Callable[[Sequence[Mapped]], str]] = (
        gate_or_memory,
        selectivity_without_gates,
        orthogonal_without_constraint,
        feed_forward_on_real_data,
    )
    return [words for rule in rules if (words := rule(every))]


def _tasks(every: Sequence[Mapped]) -> dict[str, list[Mapped]]:
    tasks: dict[str, list[Mapped]] = {}
    for one in every:
        tasks.setdefault(one.task, []).append(one)
    return tasks


def _find(here: Sequence[Mapped], model: str, stability: str = "unstable") -> Mapped | None:
    return next((one for one in here if (one.model, one.stability) == (model, stability)), None)


def gate_or_memory(every: Sequence[Mapped]) -> str:
    """Whether the LSTM with f = 1 does what the LSTM does: solves a task, or loses nothing by the rule of decision."""
    said: dict[str, list[str]] = {}
    for task, here in _tasks(every).items():
        whole = _find(here, "lstm")
        fixed = _find(
            [one for one in here if one.cell.first.config["model"].get("cell", {}).get("forget") == 1], "lstm_fixed"
        )
        if whole and fixed:
            said.setdefault(_gate_or_memory(whole, fixed), []).append(task)
    parts = "; ".join(f"{words} on {listed(tasks)}" for words, tasks in said.items())
    return f"The forget gate or the memory? By the LSTM with f = 1 beside the LSTM, {parts}" if parts else ""


def _gate_or_memory(whole: Mapped, fixed: Mapped) -> str:
    enough, needed, neither = "the memory alone is enough", "the gate is needed", "neither solves it"
    if whole.data.synthetic:
        if whole.solved and fixed.solved:
            return enough
        if not whole.solved_seeds and not fixed.solved_seeds:
            return neither
        if whole.solved and not fixed.solved_seeds:
            return needed
        if fixed.solved and not whole.solved_seeds:
            return "the gate is in the way"
        with_it, without = (
            "every seed" if one.solved else f"{one.solved_seeds or 'none'} of {one.seeds}" for one in (whole, fixed)
        )
        return f"{with_it} with the gate and {without} without it solve it"
    comparison = compare(whole.cell.finished, fixed.cell.finished)
    if comparison is None:
        return "there are too few seeds"
    return {"no loss": enough, "gain": enough, "loss": needed}.get(comparison.verdict, "it is undecided")


def selectivity_without_gates(every: Sequence[Mapped]) -> str:
    """By the mechanisms that solve selectivity in every seed."""
    here = [one for one in every if one.data.data == "selectivity"]
    gated = [one for one in here if family(one.model) in (GATES, INPUT_GATES)]
    free = [one for one in here if one not in gated]
    if not gated or not free:
        return ""
    with_gates, without = ([one.label for one in some if one.solved] for some in (gated, free))
    beside = f"with gates {listed(with_gates) or 'none'} {'do' if len(with_gates) > 1 else 'does'}"
    if without:
        return (
            f"Does selectivity need gates? No: {listed(without)} solve{'s' * (len(without) == 1)} it without; {beside}"
        )
    if not with_gates:
        return f"Does selectivity need gates? Not known: none of {len(here)} mechanisms solves it"
    return (
        f"Does selectivity need gates? Of these mechanisms yes: none of {len(free)} without gates solves it; {beside}"
    )


def orthogonal_without_constraint(every: Sequence[Mapped]) -> str:
    """By the singular values of the best weights of the orthogonal RNN trained without its constraint, if it trains."""
    parts, survives = [], []
    for task, here in _tasks(every).items():
        free, held = (_find(here, "orthogonal", stability) for stability in ("unstable", "orthogonal_polar"))
        if free is None:
            continue
        values = [result["singular_values"]["best"] for result in free.of("certificate") if "singular_values" in result]
        ends = [end for one in values for pair in one.values() for end in pair]
        if (not ends or free.learnt_nothing) and not free.cell.diverged:
            continue
        survives.append(not free.cell.diverged and max(abs(end - 1) for end in ends) <= DRIFT)
        gone = f"{free.cell.diverged} of {len(free.cell.ids)} diverged" * bool(free.cell.diverged)
        found = f"singular values from {min(ends):.2f} to {max(ends):.2f}" if ends else ""
        scored = {"without": free, "with": held}
        scores = [
            f"{Value(one.cell.mean.value).write(TEST)} {how}" for how, one in scored.items() if one and one.cell.values
        ]
        beside = f", test {listed(scores)} it" if held and scores else ""
        parts.append(f"{listed([*filter(None, (gone, found))])} on {task}{beside}")
    if not parts:
        return ""
    answer = "Yes" if all(survives) else "In part" if any(survives) else "No"
    return f"Does an orthogonal matrix survive training without its constraint? {answer}: {'; '.join(parts)}"


def feed_forward_on_real_data(every: Sequence[Mapped]) -> str:
    """Whether the mechanisms score the same by their last inputs, fewer than ``TENS``, on music and on characters.

    A k that cuts few positions decides nothing, as of the claims C2 and C4.
    """
    said = []
    for task, here in _tasks([one for one in every if not one.data.synthetic]).items():
        with_memory = [one for one in here if family(one.model) != PLAIN and one.context is not None]
        known = [(one, one.context) for one in with_memory if not one.learnt_nothing]
        if not known:
            continue
        flat = [(one, k) for one, k in known if isinstance(k, int) and k < TENS]
        within = {one.label: k for one, k in flat if k <= one.most}
        unclear = [f"{one.label} ({k})" for one, k in flat if k > one.most]
        beyond = [f"{one.label} ({k})" for one, k in known if not isinstance(k, int) or k >= TENS]
        ends = f", by the last {span([str(k) for k in sorted(within.values())])} inputs" if within else ""
        rest = f"; not {listed(beyond)}" if beyond else ""
        items = here[0].data.metric.items
        rest += f"; undecided of {listed(unclear)}, which leave most {items} as they are" if unclear else ""
        if left := len(with_memory) - len(known):
            rest += f"; {left} more, not better than the baseline, decide nothing"
        said.append(f"{len(within)} of {len(known)} on {task}{ends}{rest}")
    if not said:
        return ""
    return f"Is a cell with long memory still feed-forward after tens of inputs? Within 0.01 nats {'; '.join(said)}"
