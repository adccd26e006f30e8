"""C4: from which k on truncation leaves the loss of unconstrained models unchanged."""

from stablernn.report.claims.inference import CERTAINTY, measured_on, same_within, still_changed, truncated
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, ids, judge
from stablernn.report.load import Analyses


def effectively_feedforward(evidence: Evidence) -> list[Judgement]:
    return [
        judge(data, [_flat(name, runs) for name, runs in groups], measured_on(groups), CERTAINTY)
        for data in evidence.analysed
        if (groups := truncated(evidence, data, stable=False))
    ]


def _flat(name: str, runs: Analyses) -> Finding:
    outcome, text = still_changed(runs) or same_within(runs)
    return Finding(outcome, f"{name}: {text}", ids(runs))


CLAIM = Claim(
    "C4",
    "Are unstable models feed-forward in practice?",
    "Models trained in practice are effectively feed-forward, stable or not.",
    effectively_feedforward,
    "analyze analysis=truncation run='*-unstable-recurrent-*'",
)
