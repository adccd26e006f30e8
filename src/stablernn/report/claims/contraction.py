"""C6: whether unconstrained models contract on the data."""

from statistics import mean

from stablernn.report.claims.groups import unconstrained
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.statistics import half_width, student
from stablernn.report.text import span
from stablernn.utils.wording import counted


def contraction_on_data(evidence: Evidence) -> list[Judgement]:
    """Lyapunov exponent and growth over r inputs, of unconstrained recurrent models at their best epoch."""
    certainty = "95 % intervals over seeds, of one seed over stretches of the data; a larger growth may exist"
    return [
        judge(data, [_contracting(name, runs) for name, runs in groups], "", certainty)
        for data in evidence.analysed
        if (groups := unconstrained(evidence.of(data, "contraction")))
    ]


def _contracting(name: str, runs: Analyses) -> Finding:
    stages, one = [result["stages"]["best"] for _, result in runs], runs[0][0].metric.one
    values = [stage["lyapunov"] for stage in stages]
    exponent, half = mean(values), half_width(values)
    if len(values) == 1:
        streams = runs[0][1]["options"]["streams"]
        half = student(streams - 1) * stages[0]["lyapunov_deviation"] / streams**0.5
    starts = [stage["contracts_from"] for stage in stages]
    if None in starts:
        closer = f"two states may still be further apart after {counted(len(stages[0]['largest']), one)}"
    else:
        closer = f"all pairs of states found are closer after {counted(span([str(r) for r in sorted(starts)]), one)}"
    if exponent + half < 0:
        outcome = Outcome.MIXED if None in starts else Outcome.HOLDS
    else:
        outcome = Outcome.FAILS if exponent - half > 0 else Outcome.UNDECIDED
    return Finding(outcome, f"{name}: Lyapunov exponent {exponent:+.3f} ± {half:.3f} nats a {one}, {closer}", ids(runs))


CLAIM = Claim(
    "C6",
    "Are unstable models stable on the data?",
    "“Unstable” models are stable on the data.",
    contraction_on_data,
    "analyze analysis=contraction run='*-unstable-recurrent-*'",
)
