"""C5: whether the gradients of unconstrained models vanish with the distance."""

import math

from stablernn.report.claims.groups import unconstrained
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.statistics import student
from stablernn.report.text import span
from stablernn.utils.wording import counted

GROUPS = 8  # of positions, from which analysis=gradient_horizon takes the standard error of a slope


def vanishing_gradients(evidence: Evidence) -> list[Judgement]:
    """Decay of the mean gradient of the loss by earlier inputs, at the best epoch.

    Gradients vanish where their slope is surely below zero: how far they are followed decides nothing.
    """
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
    change = f"{'grows' if slope > 0 else 'falls'} by {abs(slope):.3f} ± {half:.3f} nats a {one}"
    text = f"{name}: the mean gradient {change}"
    if slope + half >= 0:
        return Finding(Outcome.FAILS if slope - half > 0 else Outcome.UNDECIDED, text, ids(runs))
    distances = [stage["fallen"] for stage in stages]
    if None not in distances:
        reached = f", to a thousandth {counted(span([str(i) for i in sorted(distances)]), one)} back"
    else:
        farther, seen = math.ceil(math.log(1000) / -slope), max(result["options"]["horizon"] for _, result in runs)
        if farther > seen:
            reached = f": to a thousandth {counted(farther, one)} back at that rate, and {seen} were followed"
        else:
            reached = f", not to a thousandth in the {seen} that were followed"
    return Finding(Outcome.HOLDS, text + reached, ids(runs))


CLAIM = Claim(
    "C5",
    "Do gradients vanish?",
    "The gradients of models trained in practice vanish over time.",
    vanishing_gradients,
    "analyze analysis=gradient_horizon run='*-unstable-recurrent-*'",
)
