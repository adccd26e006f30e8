"""C5: whether the gradients of unconstrained models vanish with the distance."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from stablernn.report.claims.groups import unconstrained
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.statistics import FEWEST_SEEDS, half_width, student
from stablernn.report.text import span
from stablernn.utils.wording import counted

GROUPS = 8  # of positions, from which analysis=gradient_horizon takes the standard error of a slope


def vanishing_gradients(evidence: Evidence) -> list[Judgement]:
    """Decay of the mean gradient of the loss by earlier inputs, at the best epoch.

    Gradients vanish where their slope over the farther half of the distances is surely below zero.
    """
    certainty = (
        "95 % intervals of the slope over the farther half of the distances: over seeds where there are "
        f"{FEWEST_SEEDS}, else over positions of the data, where the slowest seed decides"
    )
    return [
        judge(data, [_vanishing(name, runs) for name, runs in groups], "", certainty)
        for data in evidence.analysed
        if (groups := unconstrained(evidence.of(data, "gradient_horizon")))
    ]


def _vanishing(name: str, runs: Analyses) -> Finding:
    stages, one = [result["stages"]["best"] for _, result in runs], runs[0][0].metric.one
    horizon = max(result["options"]["horizon"] for _, result in runs)
    near = (horizon + 1) // 2
    if None in [stage["slope"]["mean"] for stage in stages]:
        return Finding(Outcome.HOLDS, f"{name}: no gradient is left {counted(near, one)} back", ids(runs))
    slope, half = _slope(stages)
    error = "" if half is None else f" ± {half:.3f}"
    change = f"{'grows' if slope > 0 else 'falls'} by {abs(slope):.3f}{error} nats a {one}"
    text = f"{name}: from {near} to {counted(horizon, one)} back the mean gradient {change}"
    distances = [stage["fallen"] for stage in stages]
    if None in distances:
        reached = f", and has not come to a thousandth {counted(horizon, one)} back"
    else:
        reached = f", and comes to a thousandth {counted(span([str(i) for i in sorted(distances)]), one)} back"
    if half is None:
        return Finding(Outcome.UNDECIDED, f"{text}{reached}; its error is not on record", ids(runs))
    if slope + half >= 0:
        return Finding(Outcome.FAILS if slope - half > 0 else Outcome.UNDECIDED, text, ids(runs))
    return Finding(Outcome.HOLDS, text + reached, ids(runs))


def _slope(stages: Sequence[dict[str, Any]]) -> tuple[float, float | None]:
    """Of several seeds, and half of its 95 % interval; None where a single run has no error."""
    slopes = [stage["slope"]["mean"] for stage in stages]
    if len(stages) >= FEWEST_SEEDS:
        return fmean(slopes), half_width(slopes)
    slowest = max(stages, key=lambda stage: stage["slope"]["mean"])
    error = slowest["error"]["mean"]
    return slowest["slope"]["mean"], None if error is None else student(GROUPS - 1) * error


CLAIM = Claim(
    "C5",
    "Do gradients vanish?",
    "The gradients of models trained in practice vanish over time.",
    vanishing_gradients,
    "analyze analysis=gradient_horizon run='*-unstable-recurrent-*'",
)
