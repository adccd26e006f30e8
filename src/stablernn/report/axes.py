"""Axes as Vega-Lite: round numbers, powers of ten, and no label twice."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import altair as alt

from stablernn.report.figure import Axis
from stablernn.report.judgement import RAISED

_MOST_STEPS = 6  # labels of several digits side by side
_ROOM: dict[str, Any] = {"padding": 5}  # pixels around the points: none lies on the edge


def scaled(axis: Axis, values: Sequence[float], count: int, typeset: Callable[[str], str] = str) -> dict[str, Any]:
    """Title, scale and labels of an axis.

    Args:
        values: what it shows.
        count: of labels, about, where round numbers are chosen.
        typeset: applied to whatever is written.
    """
    title = typeset(axis.title)
    shown: dict[str, Any] = {"format": ",~r"}
    if not axis.logarithmic:
        cut = {} if axis.most is None else {"domainMax": axis.most}
        return {"title": title, "scale": alt.Scale(zero=False, nice=False, **cut, **_ROOM), "axis": alt.Axis(**shown)}
    cut = {} if axis.least is None else {"domainMin": axis.least}
    cut |= {} if axis.most is None else {"domainMax": axis.most}
    most = math.inf if axis.most is None else axis.most
    values = [min(max(value, axis.least or 0), most) for value in values]
    ticks, decades = list(axis.ticks), _decades(values)
    if axis.powers and len(decades) > 2:
        # Powers beside which d3 would write 1e-7.
        first = math.floor(math.log10(decades[0]))
        powers = [typeset("10" + str(n).translate(RAISED)) if n not in (0, 1) else str(10**n) for n in range(first, 41)]
        ticks = decades
        shown = {"labelExpr": f"{json.dumps(powers, ensure_ascii=False)}[round(log(datum.value) / LN10) - {first}]"}
    elif not ticks:
        low, high = min(values), max(values)
        ticks = _round_numbers(low, high, count) if high / low < 20 else decades if len(decades) > 3 else _steps(values)
    # Without a count Vega would leave out every second tick where there are more than the usual few.
    shown |= {"values": ticks, "tickCount": len(ticks)}
    return {
        "title": title,
        "scale": alt.Scale(type="log", nice=False, reverse=axis.reverse, **cut, **_ROOM),
        "axis": alt.Axis(**shown),
    }


def _steps(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, ... between values; 1, 3, 10, ... where those would be too many."""
    low, high = min(values), max(values)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    finer, coarser = (
        [step for n in exponents for factor in factors if low <= (step := float(f"{factor}e{n}")) <= high]
        for factors in ((1, 2, 5), (1, 3))
    )
    return finer if len(finer) <= _MOST_STEPS else coarser


def _decades(values: Sequence[float]) -> list[float]:
    """The powers of ten between values; every second or third one where they are many."""
    first, last = math.ceil(math.log10(min(values)) - 1e-9), math.floor(math.log10(max(values)) + 1e-9)
    step = 1 + max(0, last - first) // 8
    return [float(f"1e{n}") for n in range(last, first - 1, -step)][::-1]


def _round_numbers(low: float, high: float, count: int) -> list[float]:
    """``count`` to twice as many round numbers between two: within a decade they label an axis better than d3's."""
    room = (high - low) / count or low or 1.0
    unit = 10.0 ** math.floor(math.log10(room))
    # A room of 0.1 may be 0.0999... beside its own power of ten.
    step = unit * max((factor for factor in (1, 2, 5) if factor * unit <= room), default=1)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{n * step:.10g}") for n in range(first, last + 1)] or [low]
