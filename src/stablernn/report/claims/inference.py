"""C2: from which k on a trained stable model is its truncation, as measured and as proven."""

from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import Groups, alike
from stablernn.report.data import Slice
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses, setting
from stablernn.report.sections.truncation import (
    EPSILON,
    assured_context,
    certified_context,
    has_errors,
    measured_context,
    split,
)
from stablernn.report.text import short, span
from stablernn.utils.wording import counted

ROUNDING = 1e-5  # of float32 states, and of log-probabilities that are known to first order
HORIZON = 35  # the k of the protocol


def inference_bound(evidence: Evidence) -> list[Judgement]:
    """Contexts, measured and certified, of models trained under a constraint, and gaps under the bound."""
    return [_judged(data, groups) for data in evidence.slices if (groups := truncated(evidence, data, stable=True))]


def truncated(evidence: Evidence, data: Slice, stable: bool) -> Groups:
    """The truncation curves of a slice's models: name and runs over seeds."""
    analyses = evidence.of(data, "truncation")
    return alike([entry for entry in analyses if (setting(entry[0], "stability.name") != "unstable") == stable])


def _judged(data: Slice, groups: Groups) -> Judgement:
    gaps = []
    for name, runs in groups:
        ks = runs[0][1]["k"]
        k = min(HORIZON, ks[-1])
        at = ks.index(k)
        gap = max(result["state"]["largest"][at] for _, result in runs)
        bounds = [result["certified"]["state"][at] for _, result in runs if result["certified"]["state"]]
        proven = f"under a proven {short(max(bounds))}" if bounds else "nothing proven"
        gaps.append(f"{name} {short(gap)} at k = {k}, {proven}")
    return judge(
        data,
        [_contexts(name, runs) for name, runs in groups],
        f"largest gap ‖h - h⁽ᵏ⁾‖₂ of the state: {'; '.join(gaps)}; {measured_on(groups)}",
        f"what is proven holds on any text, what is measured on these words; {uncertainty(groups)}",
    )


def measured_on(groups: Groups) -> str:
    words = span(sorted({f"{result['words']:,}" for _, runs in groups for _, result in runs}))
    return f"on {words} {split(groups[0][1])} words"


def uncertainty(groups: Groups) -> str:
    """What the intervals over other text rest on, and how many seeds there are."""
    results = [result for _, runs in groups for _, result in runs]
    known = [result["error"] for result in results if has_errors(result)]
    seeds = f"{counted(max(len(runs) for _, runs in groups), 'seed')} a model"
    if not known:
        return f"how far other text would move it is not known; {seeds}"
    if len(known) < len(results):
        share = f"{len(known)} of {counted(len(results), 'run')}"
        return f"how far other text would move it is known of {share}; {seeds}"
    shapes = {f"{counted(error['blocks'], 'block')} of {error['length']:,} words" for error in known}
    return f"for other text: 95 % intervals by the spread over {span(sorted(shapes))}; {seeds}"


def _contexts(name: str, runs: Analyses) -> Finding:
    results = [result for _, result in runs]
    beyond = sorted({k for result in results for k in above_bound(result)})
    if beyond:
        text = f"{name}: the measured gap exceeds the proven bound at k = {beyond[0]}, which is a bug"
        return Finding(Outcome.FAILS, text, ids(runs), always=True)
    measured = [measured_context(result) for result in results]
    longest = results[0]["k"][-1]
    if None in measured:
        text = f"{name}: changed by more than {EPSILON:g} nats still at k = {longest}"
        return Finding(Outcome.FAILS, text, ids(runs))
    reasons = [result["certified"]["reason"] for result in results if not result["certified"]["nats"]]
    certified = [certified_context(result) for result in results]
    proven = f"proven for {_ks(certified)}" if None not in certified else f"proven only for more than {longest}"
    if reasons:
        proven = f"not proven ({reasons[0]})"
    outcome, other_text = (Outcome.HOLDS, "") if None not in certified else on_other_text(runs)
    return Finding(outcome, f"{name}: {same_within(measured)}{other_text}, {proven}", ids(runs))


def on_other_text(runs: Analyses) -> tuple[Outcome, str]:
    """Whether what is measured holds for the whole interval over other words, if it is known, and from which k on."""
    assured = [assured_context(result) for _, result in runs if has_errors(result)]
    if not assured:
        return Outcome.HOLDS, ""
    if None in assured:
        return Outcome.UNDECIDED, f", undecided on other text up to k = {runs[0][1]['k'][-1]}"
    measured = [measured_context(result) for _, result in runs]
    return Outcome.HOLDS, f", on other text {'too' if assured == measured else f'its last {_ks(assured)}'}"


def same_within(contexts: Sequence[int | None]) -> str:
    words = counted(_ks(contexts), "word")
    give = "gives" if words == "1 word" else "give"
    return f"its last {words} {give} the same log-perplexity within {EPSILON:g} nats"


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
    "scripts/analyze.py analysis=truncation run='*-stable-recurrent-*'",
)
