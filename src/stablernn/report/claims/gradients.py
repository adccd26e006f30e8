"""C5: whether the gradients of unconstrained models vanish with the distance."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import alike, unconstrained
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge, seeds_told, span, student
from stablernn.report.load import Found
from stablernn.utils.wording import counted

GROUPS = 8  # of positions, from which analysis=gradient_horizon takes the standard error of a slope


def vanishing_gradients(evidence: Evidence) -> list[Judgement]:
    """Decay of the mean gradient of the loss by earlier words, at the best epoch, and beside it at the other stages."""
    found = []
    for part in evidence.parts:
        groups = alike([entry for entry in evidence.of(part, "gradient_horizon") if unconstrained(entry[0])])
        if groups:
            options = groups[0][1][0][1]["options"]
            others = "; ".join(f"{name} {_stages(runs)}" for name, runs in groups)
            positions = counted(options["streams"], "position")
            interval = f"95 % intervals of the slope over {positions} of {options['split']}"
            seeds = min(len(runs) for _, runs in groups)
            certainty = f"{interval}; {seeds_told(seeds, 'the slowest is told')}"
            evidence_told = f"down to a thousandth: {others}"
            found.append(judge(part, [_vanishing(name, runs) for name, runs in groups], evidence_told, certainty))
    return found


def _vanishing(name: str, found: Found) -> Part:
    stages = [result["stages"]["best"] for _, result in found]
    runs = ids([record for record, _ in found])
    slopes = [slope for stage in stages if (slope := _slope(stage)) is not None]
    if len(slopes) < len(stages):
        return Part(Outcome.HOLDS, f"{name}: no gradient is left one word back", runs)
    slope, half = max(slopes)
    fallen = [stage["fallen"] for stage in stages]
    down = "not down" if None in fallen else "down"
    text = f"{name}: the mean gradient is {down} to a thousandth {_back(fallen, found)} and "
    text += f"{_rate(slope)} ± {half:.3f} nats a word"
    farther = [rate for stage in stages if (rate := _farther(stage)) is not None]
    text += f", over the farther half of the distances by {abs(max(farther)):.3f}" if farther else ""
    if slope + half < 0:
        return Part(Outcome.MIXED if None in fallen else Outcome.HOLDS, text, runs)
    return Part(Outcome.FAILS if slope - half > 0 else Outcome.UNDECIDED, text, runs)


def _rate(slope: float) -> str:
    return f"{'grows' if slope > 0 else 'falls'} by {abs(slope):.3f}"


def _slope(stage: Mapping[str, Any]) -> tuple[float, float] | None:
    """Slope of the log of the mean gradient, and half of its interval."""
    slope, error = stage["slope"]["mean"], stage["error"]["mean"]
    return None if slope is None else (slope, student(GROUPS - 1) * (error or 0.0))


def _farther(stage: Mapping[str, Any]) -> float | None:
    """Slope over the farther half of the distances: where the fall slows down, one line through all hides how much."""
    mean = stage["mean"]
    points = [(i, math.log(value)) for i, value in enumerate(mean) if 2 * i >= len(mean) and value > 0]
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def _stages(found: Found) -> str:
    """Where the mean gradient is down to a thousandth before, during and after training."""
    told = [f"{_at([result['stages']['initial']['fallen'] for _, result in found], found)} before training"]
    if during := [kept["fallen"] for _, result in found for kept in result.get("during", [])]:
        told.append(f"{_at(during, found)} at {counted(len(during), 'moment')} during it")
    return ", ".join([*told, f"{_at([result['stages']['last']['fallen'] for _, result in found], found)} at its end"])


def _at(fallen: Sequence[int | None], found: Found) -> str:
    return f"{'not ' * (None in fallen)}{_back(fallen, found)}"


def _back(fallen: Sequence[int | None], found: Found) -> str:
    """So far; as far as was looked, where some are not down by then."""
    known = [str(i) for i in sorted(i for i in fallen if i is not None)]
    horizon = found[0][1]["options"]["horizon"]
    return f"{counted(horizon if len(known) < len(fallen) else span(known), 'word')} back"
