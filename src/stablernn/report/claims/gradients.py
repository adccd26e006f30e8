"""C5: whether the gradients of unconstrained models vanish with the distance."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import alike, unconstrained
from stablernn.report.contraction import STAGE_NAMES
from stablernn.report.evidence import Evidence, Found
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge, seeds_told, span, student
from stablernn.wording import counted

GROUPS = 8  # of positions, from which analysis=gradient_horizon takes the standard error of a slope


def vanishing_gradients(evidence: Evidence) -> list[Judgement]:
    """Decay of the mean gradient of the loss by earlier words, at the best epoch, and beside it at the other stages."""
    found = []
    for part in evidence.parts:
        groups = alike([entry for entry in evidence.of(part, "gradient_horizon") if unconstrained(entry[0])])
        if groups:
            options = groups[0][1][0][1]["options"]
            others = [
                f"{name} {STAGE_NAMES[stage]}: {_fall(runs, stage)}"
                for name, runs in groups
                for stage in ("initial", "last")
            ]
            others += [told for name, runs in groups for told in _during(name, runs)]
            positions = counted(options["streams"], "position")
            interval = f"95 % intervals of the slope over {positions} of {options['split']}"
            seeds = min(len(runs) for _, runs in groups)
            certainty = f"{interval}; {seeds_told(seeds, 'the slowest is told')}"
            found.append(judge(part, [_vanishing(name, runs) for name, runs in groups], "; ".join(others), certainty))
    return found


def _vanishing(name: str, found: Found) -> Part:
    stages = [result["stages"]["best"] for _, result in found]
    runs = ids([record for record, _ in found])
    slopes = [slope for stage in stages if (slope := _slope(stage)) is not None]
    if len(slopes) < len(stages):
        return Part(Outcome.HOLDS, f"{name}: no gradient is left one word back", runs)
    slope, half = max(slopes)
    text = f"{name}: {_fall(found, 'best')} and goes by {slope:+.3f} ± {half:.3f} nats a word"
    farther = [rate for stage in stages if (rate := _farther(stage)) is not None]
    text += f", over the farther half of the distances by {max(farther):+.3f}" if farther else ""
    fallen = all(stage["fallen"] is not None for stage in stages)
    if slope + half < 0:
        return Part(Outcome.HOLDS if fallen else Outcome.MIXED, text, runs)
    return Part(Outcome.FAILS if slope - half > 0 else Outcome.UNDECIDED, text, runs)


def _slope(stage: Mapping[str, Any]) -> tuple[float, float] | None:
    """Slope of the log of the mean gradient, and half of its interval."""
    slope, error = stage["slope"]["mean"], stage["error"]["mean"]
    return None if slope is None else (slope, student(GROUPS - 1) * (error or 0.0))


def _farther(stage: Mapping[str, Any]) -> float | None:
    """Slope over the farther half of the distances: where the fall slows down, one line through all hides how much."""
    mean = stage["mean"]
    points = [(i, math.log(value)) for i, value in enumerate(mean) if 2 * i >= len(mean) and value > 0]
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 1 else None


def _fall(found: Found, stage: str) -> str:
    return _told([result["stages"][stage]["fallen"] for _, result in found], found)


def _during(name: str, found: Found) -> list[str]:
    """What holds at every moment whose weights training kept; nothing where it kept none."""
    fallen = [kept["fallen"] for _, result in found for kept in result.get("during", [])]
    return [f"{name} during training, at {counted(len(fallen), 'moment')}: {_told(fallen, found)}"] if fallen else []


def _told(fallen: Sequence[int | None], found: Found) -> str:
    if None in fallen:
        horizon = counted(found[0][1]["options"]["horizon"], "word")
        return f"the mean gradient is not down to a thousandth {horizon} back"
    told = span([str(i) for i in sorted(i for i in fallen if i is not None)])
    return f"the mean gradient is down to a thousandth {counted(told, 'word')} back"
