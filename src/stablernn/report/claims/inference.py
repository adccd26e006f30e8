"""C2 and C4: from which k on a trained recurrent model is its truncation, as measured and as proven."""

from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import alike
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge, span
from stablernn.report.load import Found, Section, setting
from stablernn.report.sections.truncation import (
    EPSILON,
    assured_context,
    certified_context,
    has_errors,
    measured_context,
    short,
)
from stablernn.utils.wording import counted

ROUNDING = 1e-5  # of float32 states, and of log-probabilities that are known to first order
HORIZON = 35  # the k of the protocol


def inference_bound(evidence: Evidence) -> list[Judgement]:
    """Contexts, measured and certified, of models trained under a constraint, and gaps under the bound."""
    return [_inference(part, groups) for part in evidence.parts if (groups := _truncated(evidence, part, stable=True))]


def _truncated(evidence: Evidence, part: Section, stable: bool) -> list[tuple[str, Found]]:
    """The truncation curves of a section's models: name and runs over seeds."""
    found = evidence.of(part, "truncation")
    return alike([entry for entry in found if (setting(entry[0], "stability.name") != "unstable") == stable])


def _inference(section: Section, groups: Sequence[tuple[str, Found]]) -> Judgement:
    told = []
    for name, found in groups:
        _, result = found[0]
        k = min(HORIZON, result["k"][-1])
        at = result["k"].index(k)
        gap = max(entry["state"]["largest"][at] for _, entry in found)
        bounds = [entry["certified"]["state"][at] for _, entry in found if entry["certified"]["state"]]
        proven = f"under a proven {short(max(bounds))}" if bounds else "nothing proven"
        told.append(f"{name} {short(gap)} at k = {k}, {proven}")
    words = span(sorted({f"{result['words']:,}" for _, found in groups for _, result in found}))
    split = groups[0][1][0][1]["options"]["split"]
    seeds = max(len(found) for _, found in groups)
    return judge(
        section,
        [_contexts(name, found) for name, found in groups],
        f"largest gap ‖h - h⁽ᵏ⁾‖₂ of the state: {'; '.join(told)}; on {words} {split} words",
        f"what is proven holds on any text, what is measured on these words; {_words_told(groups)}; {_seeds(seeds)}",
    )


def _seeds(count: int) -> str:
    return f"{counted(count, 'seed')} a model"


def _contexts(name: str, found: Found) -> Part:
    runs = ids([record for record, _ in found])
    beyond = sorted({k for _, result in found for k in above_bound(result)})
    if beyond:
        text = f"{name}: the measured gap exceeds the proven bound at k = {beyond[0]}, which is a bug"
        return Part(Outcome.FAILS, text, runs, always=True)
    measured = [measured_context(result) for _, result in found]
    longest = found[0][1]["k"][-1]
    if None in measured:
        text = f"{name}: changed by more than {EPSILON:g} nats still at k = {longest}"
        return Part(Outcome.FAILS, text, runs)
    reasons = [result["certified"]["reason"] for _, result in found if not result["certified"]["nats"]]
    certified = [certified_context(result) for _, result in found]
    proven = f"proven for {_ks(certified)}" if None not in certified else f"proven only for more than {longest}"
    if reasons:
        proven = f"not proven ({reasons[0]})"
    text = f"{name}: {_told(measured)}"
    outcome, told = (Outcome.HOLDS, "") if None not in certified else _on_other_text(found)
    return Part(outcome, f"{text}{told}, {proven}", runs)


def _on_other_text(found: Found) -> tuple[Outcome, str]:
    """Whether what is measured holds for the whole interval over other words, if it is known, and from which k on."""
    assured = [assured_context(result) for _, result in found if has_errors(result)]
    if not assured:
        return Outcome.HOLDS, ""
    if None in assured:
        return Outcome.UNDECIDED, f", undecided on other text up to k = {found[0][1]['k'][-1]}"
    measured = [measured_context(result) for _, result in found]
    return Outcome.HOLDS, f", on other text {'too' if assured == measured else f'its last {_ks(assured)}'}"


def _words_told(groups: Sequence[tuple[str, Found]]) -> str:
    """What the intervals over other text rest on."""
    results = [result for _, found in groups for _, result in found]
    known = [result["error"] for result in results if has_errors(result)]
    if not known:
        return "how far other text would move it is not known"
    if len(known) < len(results):
        return f"how far other text would move it is known of {len(known)} of {counted(len(results), 'run')}"
    shapes = {f"{counted(error['blocks'], 'block')} of {error['length']:,} words" for error in known}
    return f"for other text: 95 % intervals by the spread over {span(sorted(shapes))}"


def _told(measured: Sequence[int | None]) -> str:
    words = counted(_ks(measured), "word")
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


def effectively_feedforward(evidence: Evidence) -> list[Judgement]:
    """From which k on truncation leaves the log-perplexity of unconstrained models unchanged."""
    found = []
    for part in evidence.parts:
        groups = _truncated(evidence, part, stable=False)
        if groups:
            words = span(sorted({f"{result['words']:,}" for _, runs in groups for _, result in runs}))
            split = groups[0][1][0][1]["options"]["split"]
            moved = ", ".join(told for name, runs in groups if (told := _largest(name, runs)))
            found.append(
                judge(
                    part,
                    [_flat(name, runs) for name, runs in groups],
                    "; ".join(
                        [
                            *([f"with so many words a log-probability still moves by up to {moved}"] if moved else []),
                            f"on {words} {split} words",
                        ]
                    ),
                    f"measured on these words, nothing is guaranteed on others; {_words_told(groups)}; "
                    f"{_seeds(max(len(runs) for _, runs in groups))}",
                )
            )
    return found


def _flat(name: str, found: Found) -> Part:
    measured = [measured_context(result) for _, result in found]
    runs = ids([record for record, _ in found])
    longest = found[0][1]["k"][-1]
    late = measured.count(None)
    if late:
        told = f" for {late} of {counted(len(found), 'seed')}" if len(found) > 1 else ""
        return Part(
            Outcome.FAILS if late == len(found) else Outcome.MIXED,
            f"{name}: still changed by more than {EPSILON:g} nats at k = {longest}{told}",
            runs,
        )
    outcome, told = _on_other_text(found)
    return Part(outcome, f"{name}: {_told(measured)}{told}", runs)


def _largest(name: str, found: Found) -> str:
    values = [
        result["largest"][result["k"].index(k)] for _, result in found if (k := measured_context(result)) is not None
    ]
    return f"{short(max(map(abs, values)))} nats ({name})" if values else ""
