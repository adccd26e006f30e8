"""C5: whether the gradients of unconstrained models vanish with the distance."""

from stablernn.report.claims.groups import unconstrained
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.statistics import student
from stablernn.report.text import span
from stablernn.utils.wording import counted

GROUPS = 8  # of positions, from which analysis=gradient_horizon takes the standard error of a slope


def vanishing_gradients(evidence: Evidence) -> list[Judgement]:
    """Decay of the mean gradient of the loss by earlier inputs, at the best epoch."""
    certainty = "95 % intervals of the slope over positions of the data; of several seeds the slowest decides"
    return [
        judge(data, [_vanishing(name, runs) for name, runs in groups], "", certainty)
        for data in evidence.analysed
        if (groups := unconstrained(evidence.of(data, "gradient_horizon")))
    ]


def _vanishing(name: str, runs: Analyses) -> Finding:
    stages, one = [result["stages"]["best"] for _, result in runs], runs[0][0].metric.one
    if None in [stage["slope"]["mean"] for stage in stages]:
        return Finding(Outcome.HOLDS, f"{name}: no gradient is left one {one} back", ids(runs))
    slope, error = max((stage["slope"]["mean"], stage["error"]["mean"] or 0.0) for stage in stages)
    half = student(GROUPS - 1) * error
    distances = [stage["fallen"] for stage in stages]
    if None in distances:
        down = f"not down to a thousandth {counted(runs[0][1]['options']['horizon'], one)} back"
    else:
        down = f"down to a thousandth {counted(span([str(i) for i in sorted(distances)]), one)} back"
    change = f"{'grows' if slope > 0 else 'falls'} by {abs(slope):.3f} ± {half:.3f} nats a {one}"
    if slope + half < 0:
        outcome = Outcome.MIXED if None in distances else Outcome.HOLDS
    else:
        outcome = Outcome.FAILS if slope - half > 0 else Outcome.UNDECIDED
    return Finding(outcome, f"{name}: the mean gradient is {down} and {change}", ids(runs))


CLAIM = Claim(
    "C5",
    "Do gradients vanish?",
    "The gradients of models trained in practice vanish over time.",
    vanishing_gradients,
    "analyze analysis=gradient_horizon run='*-unstable-recurrent-*'",
)
