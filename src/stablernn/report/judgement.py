"""What a verdict is made of: an outcome, a sentence, its evidence, how sure it is; and intervals of few values."""

import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy import stats

from stablernn.records.record import Record
from stablernn.report.load import NGRAMS, Section
from stablernn.utils.wording import counted

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


DEMONSTRATION = "smoke"  # the profile whose training shows nothing but that all of it works


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    MIXED = "mixed"
    UNDECIDED = "undecided"
    UNTRAINED = "untrained"


_LABELS = {  # at the study's protocol, and anywhere else
    Outcome.HOLDS: ("supported", "seen"),
    Outcome.FAILS: ("not supported", "not seen"),
    Outcome.MIXED: ("in part", "in part"),
    Outcome.UNDECIDED: ("undecided", "undecided"),
    Outcome.UNTRAINED: ("not trained far enough", "not trained far enough"),
}


@dataclass(frozen=True)
class Part:
    """What the runs of one model say; ``text`` begins with the model's name.

    ``outcome`` is None where the part is told beside the claim and does not count in its verdict; ``always`` where it
    stands whatever the models have learnt.
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
    """

    where: str
    scope: str
    outcome: Outcome
    preface: str
    parts: tuple[str, ...]
    evidence: str
    certainty: str
    runs: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Preface and parts as one sentence."""
        told = "; ".join(part.rstrip(".") for part in self.parts)
        return sentence(f"{self.preface}: {told}" if self.preface else told)

    @property
    def subject(self) -> str:
        """The text, machine or kind of system alone."""
        return re.split(r",| \(", self.where)[0]

    @property
    def label(self) -> str:
        at_protocol, elsewhere = _LABELS[self.outcome]
        return f"{elsewhere} {self.scope}" if self.scope else at_protocol


def judge(section: Section, parts: Sequence[Part], evidence: str, certainty: str) -> Judgement:
    """The parts as one judgement; away from the protocol it begins by saying where it was reached.

    A part on models that the control beats says nothing about memory, whatever its outcome.
    """
    parts = [_trained_far_enough(section, part) for part in parts]
    runs = tuple(dict.fromkeys(run for part in parts for run in part.runs))
    preface = f"At profile {section.profile}, which trains for {_epochs(section, runs)}"
    return Judgement(
        section.caption,
        "" if section.protocol else f"at {section.profile}",
        combined([part.outcome for part in parts]),
        "" if section.protocol else preface,
        tuple(sentence(part.text) for part in parts),
        sentence(evidence),
        sentence(certainty),
        runs,
    )


def _trained_far_enough(section: Section, part: Part) -> Part:
    """The part as it is, or that its models, or those of one constraint at whatever k, are worse than the control."""
    if part.outcome is None or part.always:
        return part
    name, _, told = part.text.partition(": ")
    if section.bar is None:
        if section.profile != DEMONSTRATION:
            return part
        text = f"{name}: not trained far enough, as profile {DEMONSTRATION} only shows that all of it works ({told})"
        return replace(part, outcome=Outcome.UNTRAINED, text=text)
    order, bar = section.bar
    cells: dict[str, dict[str, list[float]]] = {}
    for record in section.records:
        if record.id in part.runs and record.metrics.get("test", {}).get("value") is not None:
            kind = json.dumps([record.config["model"]["name"], record.config["stability"]], sort_keys=True)
            alike = json.dumps({key: value for key, value in record.config.items() if key != "seed"}, sort_keys=True)
            cells.setdefault(kind, {}).setdefault(alike, []).append(record.metrics["test"]["value"])
    reached = max((min(map(statistics.mean, of_kind.values())) for of_kind in cells.values()), default=0.0)
    if reached <= bar:
        return part
    control = f"{NGRAMS[order]} has"
    text = f"{name}: not trained far enough, {reached:.1f} where a Kneser-Ney {control} {bar:.1f} ({told})"
    return replace(part, outcome=Outcome.UNTRAINED, text=text)


def combined(outcomes: Sequence[Outcome | None]) -> Outcome:
    """The outcome on which all that count agree; else ``in part``, but a failure stands where the rest is undecided.

    Models that are not trained far enough count where there are no others.
    """
    that_count = {outcome for outcome in outcomes if outcome is not None}
    that_count = that_count - {Outcome.UNTRAINED} or that_count
    if that_count == {Outcome.FAILS, Outcome.UNDECIDED}:
        return Outcome.FAILS
    return that_count.pop() if len(that_count) == 1 else Outcome.MIXED


def sentence(text: str) -> str:
    text = typeset(text)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def typeset(text: str) -> str:
    """Minus signs, powers of ten in the place of 1e-07, and per cent signs that stay with their number."""

    def power(found: re.Match) -> str:
        raised = f"10{str(int(found[2])).translate(RAISED)}"
        return raised if found[1] == "1" else f"{found[1]}·{raised}"

    text = re.sub(r"(?<![\w.])(\d[\d.]*)e([+-]\d+)", power, text)
    return re.sub(r"(?<![\w-])-(?=\d)|(?<= )-(?= )", "−", text).replace(" %", "\u00a0%")


def _epochs(section: Section, runs: Sequence[str]) -> str:
    every = sorted(record.progress["epochs"] for record in section.records if record.id in runs)
    told = span([f"{epochs:.2g}" if epochs < 100 else f"{epochs:.0f}" for epochs in every]) if every else "no"
    return counted(told, "epoch")


def span(values: Sequence[str]) -> str:
    """First to last, once if they are the same."""
    return " to ".join(dict.fromkeys((values[0], values[-1])))


def seeds_told(runs: int, interval: str) -> str:
    """How sure ``runs`` seeds make."""
    if runs < 2:
        return "1 seed: how far seeds spread is not known, so small differences mean nothing"
    return f"{counted(runs, 'seed')}; {interval}"


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % t interval of the mean; infinite for a single value."""
    if len(values) < 2:
        return math.inf
    return student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    return float(stats.t.ppf(0.975, freedom))


def ids(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(record.id for record in records)
