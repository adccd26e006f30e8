"""What all interactive figures share: curves with names, panels as Vega-Lite, colours that follow the page's."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from stablernn.report.drawing import COLOURS
from stablernn.report.judgement import RAISED

# By name: the colour on a light page and on a dark one. The page defines a CSS variable of each.
PAGE_COLOURS = {
    "unstable": (COLOURS["unstable"], "#F58B4C"),
    "stable": (COLOURS["stable"], "#5FB0EA"),
    "green": ("#009E73", "#3CC79E"),
    "pink": ("#B95F92", "#E29FC3"),
    "amber": ("#C98A00", "#F0B84A"),
    "sky": ("#3F9CD4", "#8CCBF2"),
    "wine": ("#882255", "#CF6D9C"),
    "grey": ("#8A8A8A", "#9A9A9A"),
    "violet": ("#6A51A3", "#A996D8"),
    "olive": ("#77772B", "#C5C24F"),
    "ink": ("#222222", "#E6E3DC"),
    # An order from dark to bright that stays in sight on both.
    "k0": ("#440154", "#B48AE0"),
    "k1": ("#46327E", "#8F9BE8"),
    "k2": ("#365C8D", "#6FB3E0"),
    "k3": ("#277F8E", "#56C7CF"),
    "k4": ("#1FA187", "#4FD6AC"),
    "k5": ("#4AB06D", "#7FDF7E"),
    "k6": ("#8AA61F", "#B9E05A"),
    "k7": ("#C29A00", "#F2DD4D"),
}
OTHERS = ("green", "pink", "amber", "sky", "wine", "violet", "olive", "grey")
SHADES = tuple(name for name in PAGE_COLOURS if name[0] == "k" and name[1:].isdigit())

FONT = "Charter, 'Bitstream Charter', 'Iowan Old Style', Cambria, Georgia, 'Noto Serif', 'DejaVu Serif', serif"
_HEIGHT = 250
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "domainColor": "var(--rule)",
        "gridColor": "var(--grid)",
        "tickColor": "var(--rule)",
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
        "labelSeparation": 3,
        "tickCount": 6,
    },
}


@dataclass(frozen=True)
class Curve:
    """A name in the legend, a colour of the page, and a dash pattern."""

    label: str
    colour: str
    dash: tuple[int, ...] = (1, 0)


@dataclass(frozen=True)
class Axis:
    """``logarithmic`` axes show positive values only; ``powers``: its labels are powers of ten where they span some."""

    title: str
    logarithmic: bool = True
    powers: bool = False
    ticks: tuple[float, ...] = ()
    reverse: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels with one legend. ``panels``: title and Vega-Lite of each."""

    name: str
    title: str
    caption: str
    curves: tuple[Curve, ...]
    panels: tuple[tuple[str, dict[str, Any]], ...]


def point(curve: str, x: float, y: float, runs: Sequence[str], **more: Any) -> dict[str, Any]:
    """One point; ``runs`` are the ids that it leads to."""
    return {"curve": curve, "x": x, "y": y, "runs": " ".join(runs), **more}


def panel(
    points: Sequence[dict[str, Any]],
    curves: Sequence[Curve],
    x: Axis,
    y: Axis,
    level: float | None = None,
    dots: bool = False,
) -> dict[str, Any]:
    """Curves through points, that the page switches off by the parameter ``hidden``; the nearest point shows itself.

    Args:
        points: with ``low`` and ``high`` for a bar through a point, and ``run`` where a curve is several lines.
        level: a horizontal rule.
        dots: whether points are seen before one is pointed at.
    """
    kept = [
        {"line": entry["runs"], **entry}
        for entry in points
        if (entry["y"] > 0 or not y.logarithmic) and (entry["x"] > 0 or not x.logarithmic)
    ]
    labels = [curve.label for curve in curves]
    colour = alt.Color(
        "curve:N",
        legend=None,
        scale=alt.Scale(domain=labels, range=[f"var(--{curve.colour})" for curve in curves]),
    )
    dash = alt.StrokeDash(
        "curve:N", legend=None, scale=alt.Scale(domain=labels, range=[list(curve.dash) for curve in curves])
    )
    hidden = alt.param(name="hidden", value=[])
    base = (
        alt.Chart(alt.Data(values=kept))
        .transform_filter("indexof(hidden, datum.curve) < 0")
        .encode(
            x=alt.X("x:Q", **_scaled(x, [entry["x"] for entry in kept] or [1.0])),
            y=alt.Y("y:Q", **_scaled(y, [entry["y"] for entry in kept] or [1.0])),
        )
    )
    near = alt.selection_point(name="near", on="pointerover", nearest=True, empty=False, clear="pointerout")
    layers = [base.mark_line(strokeWidth=1.8, clip=True).encode(color=colour, strokeDash=dash, detail="line:N")]
    if any("low" in entry for entry in kept):
        bars = base.mark_rule(strokeWidth=1.2).encode(y="low:Q", y2="high:Q", color=colour)
        layers.append(bars)
    if level is not None:
        rule = alt.Chart(alt.Data(values=[{"y": level}])).mark_rule(strokeWidth=1, color="var(--ink)")
        layers.append(rule.encode(y="y:Q"))
    layers.append(
        base.mark_point(filled=True, size=70, cursor="pointer")
        .encode(
            color=colour,
            opacity=alt.condition(near, alt.value(1), alt.value(0.9 if dots else 0)),
            tooltip=alt.value(alt.expr(_told(x, y, any("spread" in entry for entry in kept)))),
        )
        .properties(name="points")
        .add_params(near)
    )
    with alt.data_transformers.enable("default", max_rows=None):
        return (
            alt.layer(*layers)
            .add_params(hidden)
            .properties(
                width="container", height=_HEIGHT, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
            )
            .configure(**_CONFIG)
            .to_dict()
        )


def _told(x: Axis, y: Axis, spread: bool) -> str:
    """What a point says: an expression, as Vega-Lite's own tooltip of the nearest point loses names of curves."""
    row = "(datum.datum || datum)"
    values = [("curve", f"{row}.curve"), (x.title, f"format({row}.x, '~g')"), (y.title, f"format({row}.y, '.4~g')")]
    values += [("± over seeds", f"{row}.spread || '1 seed'")] if spread else []
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in values) + "}"


def _scaled(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    shown: dict[str, Any] = {"format": ",~r"}
    if not axis.logarithmic:
        return {"title": axis.title, "scale": alt.Scale(zero=False), "axis": alt.Axis(**shown)}
    ticks, decades = list(axis.ticks), _decades(values)
    if axis.powers and len(decades) > 2:
        # Powers beside which d3 would write 1e-7.
        powers = ["10" + str(n).translate(RAISED) for n in range(-20, 21)]
        powers[20], powers[21] = "1", "10"
        ticks = decades
        shown = {"labelExpr": f"{json.dumps(powers, ensure_ascii=False)}[round(log(datum.value) / LN10) + 20]"}
    elif not ticks:
        narrow = max(values) / min(values) < 20
        ticks = _round_numbers(min(values), max(values)) if narrow else decades if len(decades) > 3 else _steps(values)
    # Without a count Vega would leave out every second tick where there are more than the usual few.
    shown |= {"values": ticks, "tickCount": len(ticks)}
    return {
        "title": axis.title,
        "scale": alt.Scale(type="log", nice=False, reverse=axis.reverse),
        "axis": alt.Axis(**shown),
    }


def _steps(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, ... between values."""
    low, high = min(values), max(values)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step for n in exponents for factor in (1, 2, 5) if low <= (step := float(f"{factor}e{n}")) <= high]


def _decades(values: Sequence[float]) -> list[float]:
    """The powers of ten between values; every second or third one where they are many."""
    first, last = math.ceil(math.log10(min(values)) - 1e-9), math.floor(math.log10(max(values)) + 1e-9)
    step = 1 + max(0, last - first) // 8
    return [float(f"1e{n}") for n in range(last, first - 1, -step)][::-1]


def _round_numbers(low: float, high: float) -> list[float]:
    """Some six to twelve round numbers between two: within a decade they label an axis better than d3's."""
    room = (high - low) / 6 or low or 1.0
    unit = 10.0 ** math.floor(math.log10(room))
    step = unit * max(factor for factor in (1, 2, 5) if factor * unit <= room)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{n * step:.10g}") for n in range(first, last + 1)] or [low]
