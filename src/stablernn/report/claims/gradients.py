"""C5: whether the gradients of unconstrained models vanish with the distance."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import unconstrained
from stablernn.report.difference import seeds_note, student
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.text import span
from stablernn.utils.wording import counted

GROUPS = 8  # of positions, from which analysis=gradient_horizon takes the standard error of a slope


def vanishing_gradients(evidence: Evidence) -> list[Judgement]:
    """Decay of the mean gradient of the loss by earlier words, at the best epoch, and beside it at the other stages."""
    made = []
    for data in evidence.slices:
        groups = unconstrained(evidence.of(data, "gradient_horizon"))
        if groups:
            options = groups[0][1][0][1]["options"]
            others = "; ".join(f"{name} {_stages(runs)}" for name, runs in groups)
            positions = counted(options["streams"], "position")
            seeds = seeds_note(min(len(runs) for _, runs in groups), "the slowest is shown")
            certainty = f"95 % intervals of the slope over {positions} of {options['split']}; {seeds}"
            parts = [_vanishing(name, runs) for name, runs in groups]
            made.append(judge(data, parts, f"down to a thousandth: {others}", certainty))
    return made


def _vanishing(name: str, runs: Analyses) -> Finding:
    stages = [result["stages"]["best"] for _, result in runs]
    slopes = [slope for stage in stages if (slope := _slope(stage)) is not None]
    if len(slopes) < len(stages):
        return Finding(Outcome.HOLDS, f"{name}: no gradient is left one word back", ids(runs))
    slope, half = max(slopes)
    distances = [stage["fallen"] for stage in stages]
    down = "not down" if None in distances else "down"
    change = f"{'grows' if slope > 0 else 'falls'} by {abs(slope):.3f}"
    text = f"{name}: the mean gradient is {down} to a thousandth {_back(distances, runs)} and "
    text += f"{change} ± {half:.3f} nats a word"
    farther = [rate for stage in stages if (rate := _farther(stage)) is not None]
    text += f", over the farther half of the distances by {abs(max(farther)):.3f}" if farther else ""
    if slope + half < 0:
        return Finding(Outcome.MIXED if None in distances else Outcome.HOLDS, text, ids(runs))
    return Finding(Outcome.FAILS if slope - half > 0 else Outcome.UNDECIDED, text, ids(runs))


def _slope(stage: Mapping[str, Any]) -> tuple[float, float] | None:
    """Slope of the log of the mean gradient, and half of its interval."""
    slope, error = stage["slope"]["mean"], stage["error"]["mean"]
    return None if slope is None else (slope, student(GROUPS - 1) * (error or 0.0))


def _farther(stage: Mapping[str, Any]) -> float | None:
    """Slope over the farther half of the distances: where the fall slows down, one line through all hides how much."""
    mean = stage["mean"]
    points = [(i, math.log(value)) for i, value in enumerate(mean) if 2 * i >= len(mean) and value > 0]
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def _stages(runs: Analyses) -> str:
    """Where the mean gradient is down to a thousandth before, during and after training."""

    def at(distances: Sequence[int | None]) -> str:
        return f"{'not ' * (None in distances)}{_back(distances, runs)}"

    first, last = ([result["stages"][stage]["fallen"] for _, result in runs] for stage in ("initial", "last"))
    during = [moment["fallen"] for _, result in runs for moment in result.get("during", [])]
    middle = [f"{at(during)} at {counted(len(during), 'moment')} during it"] if during else []
    return ", ".join([f"{at(first)} before training", *middle, f"{at(last)} at its end"])


def _back(distances: Sequence[int | None], runs: Analyses) -> str:
    """So far; as far as was looked, where some are not down by then."""
    known = [str(i) for i in sorted(i for i in distances if i is not None)]
    horizon = runs[0][1]["options"]["horizon"]
    return f"{counted(horizon if len(known) < len(distances) else span(known), 'word')} back"


CLAIM = Claim(
    "C5",
    "Do gradients vanish?",
    "The gradients of models trained in practice vanish over time.",
    vanishing_gradients,
    "scripts/analyze.py analysis=gradient_horizon run='*-unstable-recurrent-*'",
)
