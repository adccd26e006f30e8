"""C4: from which k on truncation leaves the log-perplexity of unconstrained models unchanged."""

from stablernn.report.claims.inference import measured_on, on_other_text, same_within, truncated, uncertainty
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.sections.truncation import EPSILON, measured_context
from stablernn.report.text import short
from stablernn.utils.wording import counted


def effectively_feedforward(evidence: Evidence) -> list[Judgement]:
    made = []
    for data in evidence.slices:
        groups = truncated(evidence, data, stable=False)
        if groups:
            moved = ", ".join(text for name, runs in groups if (text := _largest(name, runs)))
            largest = [f"with so many words a log-probability still moves by up to {moved}"] if moved else []
            parts = [_flat(name, runs) for name, runs in groups]
            certainty = f"measured on these words, nothing is guaranteed on others; {uncertainty(groups)}"
            made.append(judge(data, parts, "; ".join([*largest, measured_on(groups)]), certainty))
    return made


def _flat(name: str, runs: Analyses) -> Finding:
    measured = [measured_context(result) for _, result in runs]
    late = measured.count(None)
    if late:
        share = f" for {late} of {counted(len(runs), 'seed')}" if len(runs) > 1 else ""
        return Finding(
            Outcome.FAILS if late == len(runs) else Outcome.MIXED,
            f"{name}: still changed by more than {EPSILON:g} nats at k = {runs[0][1]['k'][-1]}{share}",
            ids(runs),
        )
    outcome, other_text = on_other_text(runs)
    return Finding(outcome, f"{name}: {same_within(measured)}{other_text}", ids(runs))


def _largest(name: str, runs: Analyses) -> str:
    values = [
        result["largest"][result["k"].index(k)] for _, result in runs if (k := measured_context(result)) is not None
    ]
    return f"{short(max(map(abs, values)))} nats ({name})" if values else ""


CLAIM = Claim(
    "C4",
    "Are unstable models feed-forward in practice?",
    "Models trained in practice are effectively feed-forward, stable or not.",
    effectively_feedforward,
    "scripts/analyze.py analysis=truncation run='*-unstable-recurrent-*'",
)
