"""C4: from which k on truncation leaves the log-perplexity of unconstrained models unchanged."""

from stablernn.report.claims.inference import CERTAINTY, measured_on, same_within, truncated
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.sections.truncation import EPSILON, measured_context
from stablernn.utils.wording import counted


def effectively_feedforward(evidence: Evidence) -> list[Judgement]:
    return [
        judge(data, [_flat(name, runs) for name, runs in groups], measured_on(groups), CERTAINTY)
        for data in evidence.analysed
        if (groups := truncated(evidence, data, stable=False))
    ]


def _flat(name: str, runs: Analyses) -> Finding:
    late = [measured_context(result) for _, result in runs].count(None)
    if late:
        text = f"{name}: still changed by more than {EPSILON:g} nats at k = {runs[0][1]['k'][-1]}"
        outcome = Outcome.FAILS if late == len(runs) else Outcome.MIXED
        return Finding(outcome, f"{text} for {late} of {counted(len(runs), 'seed')}", ids(runs))
    outcome, text = same_within(runs)
    return Finding(outcome, f"{name}: {text}", ids(runs))


CLAIM = Claim(
    "C4",
    "Are unstable models feed-forward in practice?",
    "Models trained in practice are effectively feed-forward, stable or not.",
    effectively_feedforward,
    "analyze analysis=truncation run='*-unstable-recurrent-*'",
)
