"""C2: from which k on a trained stable model is its truncation, as measured and as proven."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import Groups, alike
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses, setting
from stablernn.report.replicates import Replicates
from stablernn.report.sections.truncation import (
    EPSILON,
    assured_context,
    certified_context,
    has_errors,
    informative_context,
    measured_context,
)
from stablernn.report.slices import Slice
from stablernn.report.text import span
from stablernn.utils.wording import counted

ROUNDING = 1e-5  # of float32 states, and of log-probabilities that are known to first order
CERTAINTY = (
    "what is proven holds on any data, what is measured on these; intervals are over their blocks of 1,024 items, or "
    "sequences"
)


def inference_bound(evidence: Evidence) -> list[Judgement]:
    """Contexts, measured and certified, of models trained under a constraint, and gaps under the bound.

    Constraints that prove nothing of the trained weights stand beside the study's and the certified ones.
    """
    made = []
    for data in evidence.analysed:
        groups = truncated(evidence, data, stable=True)
        parts = [_contexts(evidence, data, name, runs) for name, runs in groups]
        if any(part.outcome for part in parts):
            made.append(judge(data, parts, measured_on(groups), CERTAINTY))
    return made


def truncated(evidence: Evidence, data: Slice, stable: bool) -> Groups:
    """The truncation curves of a slice's models: name and runs over seeds."""
    analyses = evidence.of(data, "truncation")
    return alike([entry for entry in analyses if (setting(entry[0], "stability.name") != "unstable") == stable])


def measured_on(groups: Groups) -> str:
    words = span(sorted({f"{result['count']:,}" for _, runs in groups for _, result in runs}))
    return (
        f"on {words} {groups[0][1][0][0].metric.items}, {counted(max(len(runs) for _, runs in groups), 'seed')} a model"
    )


def _contexts(evidence: Evidence, data: Slice, name: str, runs: Analyses) -> Finding:
    results = [result for _, result in runs]
    beyond = sorted({k for result in results for k in above_bound(result)})
    if beyond:
        text = f"{name}: the measured gap exceeds the proven bound at k = {beyond[0]}, which is a bug"
        return Finding(Outcome.FAILS, text, ids(runs), always=True)
    stable = is_stable(Replicates(data.replicates(ids(runs))))
    if changed := still_changed(runs):
        return Finding(changed[0] if stable else None, f"{name}: {changed[1]}", ids(runs))
    outcome, text = same_within(runs)
    enough, proven = _proven(evidence, data, runs)
    if enough:
        outcome, text = Outcome.HOLDS, re.split(r",| \(", text)[0]
    return Finding(outcome if stable else None, f"{name}: {text}, {proven}", ids(runs))


def is_stable(replicates: Replicates) -> bool:
    """Whether models count as stable ones: under the study's condition as it is stated, or each of them certified."""
    return setting(replicates.first, "stability.name") == "stable" or isinstance(replicates.proven[0], float)


def _proven(evidence: Evidence, data: Slice, runs: Analyses) -> tuple[bool, str]:
    """Whether a k that was examined is proven, and the largest proven k of all seeds of the model.

    Of each seed the least k that its record, its truncation curve or its analysis=certificate proves: the search for
    the best norms is in the analyses alone.
    """
    results = [result for _, result in runs]
    known = Replicates(data.replicates(ids(runs))).certificates
    recorded = dict(zip(known.id, known.context, strict=True))
    examined = {record.id: certified_context(result) for record, result in runs}
    searched = {
        record.id: result["certificate"].get("context", {}).get(f"{EPSILON:g}")
        for record, result in evidence.of(data, "certificate")
    }

    def least(run: str) -> int | None:
        found = [by.get(run) for by in (recorded, examined, searched)]
        return min((int(k) for k in found if k is not None and not math.isnan(k)), default=None)

    contexts = {run: least(run) for run in {**examined, **recorded}}
    proven, longest = [k for k in contexts.values() if k is not None], results[0]["k"][-1]
    reasons = [result["certified"]["reason"] for _, result in runs if not result["certified"]["nats"]]
    if not proven and reasons:
        return False, f"not proven ({reasons[0]})"
    if not proven:
        return False, f"proven only for more than {longest}"
    every, seeds = len(proven) == len(contexts), counted(len(contexts), "seed")
    enough = every and max(proven) <= longest
    of = seeds if every else f"{len(proven)} of {seeds}"
    return enough, f"proven {'' if enough else 'only '}for {max(proven):,} ({'largest of ' * (len(proven) > 1)}{of})"


def same_within(runs: Analyses) -> tuple[Outcome, str]:
    """From which k on the loss stays, and whether it does for the whole interval over other data.

    A k decides only where it cuts most positions (``informative_context``).
    """
    most = min(informative_context(result) for _, result in runs)
    measured = [measured_context(result) for _, result in runs]
    text = f"within {EPSILON:g} nats by its last {counted(_ks(measured), runs[0][0].metric.one)}"
    if max(k or 0 for k in measured) > most:
        return Outcome.UNDECIDED, f"{text}, undecided: {too_short(most)}"
    assured = [assured_context(result) for _, result in runs if has_errors(result)]
    if len(assured) < len(runs):
        return Outcome.UNDECIDED, f"{text}, undecided: too few parts of the data for an interval"
    if None in assured:
        return Outcome.UNDECIDED, f"{text}, undecided: the 95 % interval is wider up to k = {runs[0][1]['k'][-1]}"
    text = f"{text} (with the 95 % interval {_ks(assured)})"
    if max(k or 0 for k in assured) > most:
        return Outcome.UNDECIDED, f"{text}, undecided: {too_short(most)}"
    return Outcome.HOLDS, text


def still_changed(runs: Analyses) -> tuple[Outcome, str] | None:
    """What runs say that are not the same at the largest k examined; None where all are."""
    late = [result for _, result in runs if measured_context(result) is None]
    if not late:
        return None
    longest = runs[0][1]["k"][-1]
    text = f"still changed by more than {EPSILON:g} nats at k = {longest}"
    if len(runs) > 1:
        text += f" for {len(late)} of {counted(len(runs), 'seed')}"
    if (most := min(informative_context(result) for _, result in runs)) < longest:
        return Outcome.UNDECIDED, f"{text}, undecided: {too_short(most)}"
    return Outcome.FAILS if len(late) == len(runs) else Outcome.MIXED, text


def too_short(most: int) -> str:
    return f"a k above {most} leaves most positions as they are"


def _ks(ks: Sequence[int | None]) -> str:
    return span([str(k) for k in sorted(k for k in ks if k is not None)])


def above_bound(result: Mapping[str, Any]) -> list[int]:
    """The k at which a measured gap is larger than what is proven of it."""
    certified = result["certified"]
    if not certified["state"]:
        return []
    measured = zip(result["k"], result["state"]["largest"], result["largest"], strict=True)
    proven = zip(certified["state"], certified["nats"], strict=True)
    return [
        k
        for (k, gap, nats), (state, most) in zip(measured, proven, strict=True)
        if gap > state + ROUNDING or abs(nats) > most + ROUNDING
    ]


CLAIM = Claim(
    "C2",
    "Is a stable model feed-forward at inference?",
    "A stable model is its feed-forward truncation at inference.",
    inference_bound,
    "analyze analysis=truncation run='*-stable-recurrent-*'",
)
