"""What a verdict is made of: an outcome, a sentence, its evidence, how sure it is."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from stablernn.report.baseline import shortfall
from stablernn.report.evidence import Evidence
from stablernn.report.load import Analyses
from stablernn.report.slices import Slice
from stablernn.report.text import sentence, span
from stablernn.utils.project import command
from stablernn.utils.wording import counted

DEMONSTRATION = "smoke"  # the profile whose training shows nothing but that all of it works


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    MIXED = "mixed"
    UNDECIDED = "undecided"
    UNTRAINED = "untrained"
    WORSE = "worse"


NOTHING_LEARNT = {Outcome.UNTRAINED, Outcome.WORSE}  # of the models: their numbers decide nothing
_LABELS = {  # at the study's protocol, and anywhere else
    Outcome.HOLDS: ("supported", "seen"),
    Outcome.FAILS: ("not supported", "not seen"),
    Outcome.MIXED: ("in part", "in part"),
    Outcome.UNDECIDED: ("undecided", "undecided"),
    Outcome.UNTRAINED: ("not trained far enough", "not trained far enough"),
    Outcome.WORSE: ("worse than its baseline", "worse than its baseline"),
}


@dataclass(frozen=True)
class Finding:
    """What the runs of one model say; ``text`` begins with the model's name.

    ``outcome`` is None where the part stands beside the claim and does not count in its verdict; ``always`` where it
    holds whatever the models have learnt.
    """

    outcome: Outcome | None
    text: str
    runs: tuple[str, ...] = ()
    always: bool = False


@dataclass(frozen=True)
class Judgement:
    """What runs that may be compared say of a claim.

    Attributes:
        where: text and profile, or the machine.
        scope: empty at the study's protocol; else where the verdict holds, as it never is one on the study.
        outcome: of all parts.
        preface: what has to be known before the parts are read; empty at the protocol.
        parts: what is said of each model, or kind of work.
        evidence, certainty: a sentence each.
        runs: ids of all runs it rests on.
        otherwise: whether what stands beside the claim reaches what it claims.
    """

    where: str
    scope: str
    outcome: Outcome
    preface: str
    parts: tuple[str, ...]
    evidence: str
    certainty: str
    runs: tuple[str, ...]
    otherwise: bool = False

    @property
    def verdict(self) -> str:
        """Preface and parts as one sentence."""
        parts = "; ".join(part.rstrip(".") for part in self.parts)
        return sentence(f"{self.preface}: {parts}" if self.preface else parts)

    @property
    def subject(self) -> str:
        """The text, machine or kind of system alone."""
        return re.split(r",| \(", self.where)[0]

    @property
    def label(self) -> str:
        at_protocol, elsewhere = _LABELS[self.outcome]
        return f"{elsewhere} {self.scope}" if self.scope else at_protocol


@dataclass(frozen=True)
class Claim:
    """One claim of the study.

    Attributes:
        name: as the design counts them.
        question: what a reader would ask.
        statement: what is claimed.
        judge: the judgements, one for each text and profile (or machine), the weightiest first; none without evidence.
        arguments: of the command that makes the evidence, with its name.
    """

    name: str
    question: str
    statement: str
    judge: Callable[[Evidence], list[Judgement]]
    arguments: str

    @property
    def remedy(self) -> str:
        """The command that makes the evidence, as it is typed here."""
        name, _, options = self.arguments.partition(" ")
        return f"{command(name)} {options}".rstrip()


def judgement(
    where: str,
    scope: str,
    parts: Sequence[Finding],
    evidence: str,
    certainty: str,
    runs: Sequence[str],
    preface: str = "",
) -> Judgement:
    """The parts as one judgement, in sentences."""
    outcome = combined([part.outcome for part in parts])
    texts = tuple(sentence(part.text if part.outcome else f"not counted: {part.text}") for part in parts)
    return Judgement(where, scope, outcome, preface, texts, sentence(evidence), sentence(certainty), tuple(runs))


def judge(data: Slice, parts: Sequence[Finding], evidence: str, certainty: str) -> Judgement:
    """The parts as one judgement; away from the protocol it begins by saying where it was reached.

    A part on models that the baseline beats says nothing about memory, whatever its outcome.
    """
    parts = [_if_it_has_learnt(data, part) for part in parts]
    runs = tuple(dict.fromkeys(run for part in parts for run in part.runs))
    if data.protocol:
        return judgement(data.caption, "", parts, evidence, certainty, runs)
    preface = f"At profile {data.profile}, which trains for {_epochs(data, runs)}"
    return judgement(data.caption, f"at {data.profile}", parts, evidence, certainty, runs, preface)


def _if_it_has_learnt(data: Slice, part: Finding) -> Finding:
    """The part as it is, or that its models are worse than the baseline, with what was said of them in brackets."""
    if part.outcome is None or part.always:
        return part
    if data.best_baseline is None and data.profile == DEMONSTRATION:
        outcome = Outcome.UNTRAINED
        reason = f"not trained far enough, as profile {DEMONSTRATION} only shows that all of it works"
    elif found := shortfall(data, part.runs):
        outcome, reason = Outcome.UNTRAINED if found.cut else Outcome.WORSE, found.words
    else:
        return part
    name, _, text = part.text.partition(": ")
    said = "" if part.outcome in NOTHING_LEARNT else f" ({text})"
    return replace(part, outcome=outcome, text=f"{name}: {reason}{said}")


def combined(outcomes: Sequence[Outcome | None]) -> Outcome:
    """The outcome on which all that count agree; else ``in part``, but a failure stands where the rest is undecided.

    Models that are worse than their baseline count where there are no others.
    """
    that_count = {outcome for outcome in outcomes if outcome is not None}
    that_count = that_count - NOTHING_LEARNT or that_count
    if that_count == NOTHING_LEARNT:
        return Outcome.WORSE
    if that_count == {Outcome.FAILS, Outcome.UNDECIDED}:
        return Outcome.FAILS
    return that_count.pop() if len(that_count) == 1 else Outcome.MIXED


def _epochs(data: Slice, runs: Sequence[str]) -> str:
    every = sorted(data.runs.epochs[data.runs.id.isin(runs)])
    return counted(span([f"{value:.3g}" for value in every]) if every else "no", "epoch")


def ids(analyses: Analyses) -> tuple[str, ...]:
    return tuple(record.id for record, _ in analyses)
