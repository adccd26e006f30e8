"""The atlas of memory: what each mechanism solves, what is proven of it, and how far it remembers."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.frame import EPSILON
from stablernn.report.load import Measurements
from stablernn.report.names import MODEL_NAMES
from stablernn.report.section import Block, Section, minor
from stablernn.report.sections.atlas_figures import atlas_figures
from stablernn.report.sections.atlas_questions import TEST, Mapped, families, mapped, sentences
from stablernn.report.sections.gradient_horizon import moments
from stablernn.report.sections.mechanisms import where
from stablernn.report.sections.synthetic import SOLVED
from stablernn.report.sections.truncation import farthest
from stablernn.report.slices import leading
from stablernn.report.statistics import half_width
from stablernn.report.table import Column, Entry, Table, Value, text
from stablernn.report.text import listed, sentence

_SOLVED = f"at most 1/{SOLVED} of the exact baseline in every seed (✓ on music and texts: better than the baseline)"
_PROVEN = {"proven before": 5, "proven": 1, "proven on data": 1}  # the higher, the sooner it is left out
_AT_CHANCE = "in no seed better than the baseline by more than the task’s margin"


def ratio(speeds: Measurements, one: Mapped) -> float | None:
    """Of an update to that of the LSTM, on the first machine where it was measured."""
    found = (measured["cases"].get(f"{one.data.data}-{one.model}-{one.stability}") for measured in speeds.values())
    return next((case["ratio"] for case in found if case), None)


def solved_table(every: Sequence[Mapped]) -> Table:
    """A line for each mechanism, in the order of their kinds, and a column for each task."""
    tasks = list(dict.fromkeys(one.task for one in every))
    lines: dict[str, dict[str, Value]] = {}
    order = list(families())
    for one in sorted(every, key=lambda one: order.index(one.model) if one.model in order else len(order)):
        score = f"{fmean(one.cell.values):.3g}" if one.cell.values else "diverged"
        entry = Value(f"{score} {one.mark}".rstrip(), runs=one.cell.ids)
        held = "" if one.stability == "unstable" else f", {one.constraint}"
        named = lines.setdefault(f"{MODEL_NAMES.get(one.model, one.model)}{held}", {})
        if one.task in named:  # other settings of the same mechanism
            named = lines.setdefault(one.label, {})
        named[one.task] = entry
    return Table(
        "What each mechanism solves",
        [text("mechanism"), *map(Column, tasks)],
        [[name, *map(scores.get, tasks)] for name, scores in lines.items()],
        [f"test scores, means over seeds; ✓ solved: {_SOLVED}; × at chance: {_AT_CHANCE}", *_baselines(every)],
        name="atlas_solved",
    )


def _baselines(every: Sequence[Mapped]) -> list[str]:
    """A note on those of tasks that were not made."""
    best = {one.task: one.data.best_baseline for one in every if not one.data.synthetic}
    said = [f"{task} {known[1]:.2f} ({known[0]})" for task, known in best.items() if known]
    return [f"baseline: {', '.join(said)}"] * bool(said)


def atlas_table(every: Sequence[Mapped], speeds: Measurements) -> Table:
    """A line for each task and mechanism, the best of a task first."""
    k = f"k({EPSILON})"
    columns = [
        *(text("task"), text("mechanism"), text("constraint")),
        Column("parameters", ",d", drop=6),
        Column("epochs", ".3g", drop=8),
        TEST,
        Column("seeds"),
        text("verdict"),
        *(Column(head, ",d", f"{head}: {k}", drop=drop) for head, drop in _PROVEN.items()),
        *(Column(f"horizon {when}", drop=3 if when != "after" else 0) for when in ("before", "during", "after")),
        Column("λ_r < 1 from r =", drop=4),
        Column("Lyapunov", "+.3f", drop=2),
        Column(k, unit="inputs"),
        Column("update / LSTM", ".2g", drop=7),
    ]
    notes = [
        "test: cross-entropy in nats a position, NLL in nats a frame (music), bits a character or mean squared error "
        "(adding problem), mean over seeds ± half of the 95 % t interval",
        f"verdict: solved: {_SOLVED}; at chance (on music and texts at the baseline): {_AT_CHANCE}",
        *_baselines(every),
        f"proven: {k} of the certificate, before training and of the best weights; stable: a rate below 1, where no "
        "change of the loss follows from it; no: nothing is proven",
        "proven on data: the same for the first sequences of test alone, from any state that they allow; no: not "
        "proven, or no fewer inputs than the longest of them has",
        "horizon: from there on the mean gradient of the loss by the input is at most a thousandth of that at the last "
        "input, before, during and after training; ‘>’ a number: beyond all that was looked at",
        "λ_r < 1 from r: from there on no two states were found that come apart in r inputs; Lyapunov: the largest "
        "exponent along the data, nats an input; both of the best weights",
        f"{k}: from there on the truncated model’s loss is measured to stay within {EPSILON} nats (adding problem: of "
        "squared error) of the whole model’s; of several seeds, the one that remembers farthest",
    ]
    notes += dict.fromkeys(f"{one.task}: {one.data.precisions}" for one in every if one.data.precisions)
    if speeds:
        notes.append(
            "update / LSTM: time of an update of training by that of the LSTM on the same task, the median of "
            f"alternating pairs, on {listed([where(measured) for measured in speeds.values()])}"
        )
    entries, said = [_entries(one, ratio(speeds, one)) for one in every], sentences(every)
    runs = [one.cell.ids for one in every]
    return Table("Atlas of memory", columns, entries, [*said, *notes], _reasons(every), runs)


def _entries(one: Mapped, update: float | None) -> list[Entry]:
    cell, values = one.cell, one.cell.values
    score = cell.mean
    if values:
        spread = half_width(values) if len(values) > 1 else None
        score = Value(fmean(values), spread, diverged=cell.diverged, runs=cell.ids)
    measured: list[Entry] = [
        _proven([result["initial"] for result in one.of("certificate") if "initial" in result]),
        _proven(
            [result["certificate"] for result in one.of("certificate")] or [r.certificate for r in cell.runs.record]
        ),
        _on_data([result["proven"]["any"][EPSILON]["max"] for result in one.of("certificate_on_text")]),
        *(horizon(one, when) for when in ("before", "during", "after")),
        _contracts(one),
        _mean([result["stages"]["best"]["lyapunov"] for result in one.of("contraction")]),
        one.context,
        update,
    ]
    # Only the score leads to the runs: a link a number would be most of the page's letters.
    return [
        *(one.task, one.name, one.constraint),
        _alone(cell.first.model.get("parameters")),
        _alone(_mean([record.progress["epochs"] for record in cell.runs.record])),
        score,
        _alone(len(values)),
        one.verdict,
        *map(_alone, measured),
    ]


def _alone(entry: Entry) -> Value:
    return replace(entry, runs=()) if isinstance(entry, Value) else Value(entry, runs=())


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _proven(certificates: Sequence[dict[str, Any]]) -> int | str | None:
    """The k of the seed that needs most; whether it is stable at all; None where nobody asked."""
    known = [one for one in certificates if one.get("certified") is not None]
    if not known:
        return None
    if not all(one["certified"] for one in known):
        return "no"
    contexts = [one.get("context", {}).get(EPSILON) for one in known]
    if None in contexts:
        return "stable" if any("loss" in one for one in known) else "> 10⁷"
    return max(contexts)


def _on_data(contexts: Sequence[float | None]) -> int | str | None:
    """The k of the seed that needs most; None where nobody asked."""
    known = [k for k in contexts if k is not None]
    if len(known) < len(contexts):
        return "no"
    return int(max(known)) if known else None


def _reasons(every: Sequence[Mapped]) -> list[str]:
    """Why nothing is proven of the trained weights of a mechanism, by its first seed, and on which tasks."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in every:
        known = [record.certificate for record in one.cell.runs.record]
        reasons = [certificate["reason"] for certificate in known if certificate.get("certified") is False]
        if reasons:
            found.setdefault((f"{one.name}, {one.constraint}", reasons[0]), []).append(one.task)
    return [f"{name}: nothing is proven on {listed(tasks)}, as {reason}" for (name, reason), tasks in found.items()]


def horizon(one: Mapped, when: str) -> int | str | None:
    """From which i on the mean gradient is a thousandth, of the seed where it reaches farthest."""
    fallen, most = [], 0
    for record, result in one.analyses.get("gradient_horizon", ()):
        most = max(most, result["options"]["horizon"])
        seen = moments(record, result)
        chosen = {"before": seen[:1], "during": seen[1:-1], "after": [moment for moment in seen if moment.best]}[when]
        fallen += [moment.values["fallen"] for moment in chosen]
    return farthest(fallen, most) if fallen else None


def _contracts(one: Mapped) -> int | str | None:
    results = one.of("contraction")
    if not results:
        return None
    return farthest(
        [r["stages"]["best"]["contracts_from"] for r in results], max(r["options"]["longest"] for r in results)
    )


def every_mechanism(evidence: Evidence) -> list[Mapped]:
    """Task by task, music last, the best of each first."""
    tasks = sorted(leading(evidence.atlas), key=lambda data: not data.synthetic)
    return [one for data in tasks for one in mapped(data, evidence)]


def answers(evidence: Evidence) -> list[str]:
    """What the atlas says of its questions."""
    return [sentence(words) for words in sentences(every_mechanism(evidence))]


def _blocks(evidence: Evidence) -> list[Block]:
    every = every_mechanism(evidence)
    if not every:
        return []
    small = all(minor(one.data) for one in every)
    return [
        Block("Mechanisms of memory", atlas_figures(every), [solved_table(every)], answers(evidence), small),
        Block("Everything measured of them", [], [atlas_table(every, evidence.speeds)], minor=True),
    ]


SECTION = Section(
    "atlas",
    "Atlas of memory",
    "Mechanisms that promise long memory: what each solves, what is proven of it, how far it remembers.",
    _blocks,
    "atlas",
    ("C4", "C5", "C6"),
    ("atlas",),
    answers,
)
