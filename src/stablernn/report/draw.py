"""Figures as Vega-Lite, from one builder: for print as SVG and PNG, and for the page with the points beside it.

What is drawn with is imported when it is needed: training needs none of it, nor do tables.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from PIL import Image

from stablernn.report.figure import Axis, Curve, Figure, Panel
from stablernn.report.palette import COLOURS
from stablernn.report.text import typeset
from stablernn.utils.escaping import drawn
from stablernn.utils.files import replacing, write_text

FONT = "Charter, 'Bitstream Charter', 'Iowan Old Style', Cambria, Georgia, 'Noto Serif', 'DejaVu Serif', serif"
BAND = 0.18  # opacity
SCALE = 2  # pixels of a PNG for each unit of its SVG
_COLUMNS, _WIDTH, _HEIGHT = 2, 205, 150  # of panels in print: together 5.5 inches wide, with labels of 8 points
_COLOURS = 128  # of a PNG
_LETTER = 5.4  # mean width of one in the legend
_MOST_TICKS = 8
_ROOM: dict[str, Any] = {"padding": 5}  # pixels around the points: none lies on the edge
_WHERE: dict[str, Any] = {"fontSize": 10, "color": "#666666", "offset": 8}  # text and profile above the panels
_AXIS: dict[str, Any] = {"titleFontWeight": "normal", "labelOverlap": "greedy", "labelSeparation": 2}
CONFIG: Mapping[str, Any] = {
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
        "tickCount": 6,
        **_AXIS,
    },
}
_PRINT_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "Liberation Sans, DejaVu Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": None},
    "title": {"fontSize": 11, "fontWeight": "normal", "anchor": "start", "frame": "group", "color": "#222222"},
    "axis": {
        "domainColor": "#888888",
        "gridColor": "#E6E6E6",
        "tickColor": "#888888",
        "labelColor": "#222222",
        "titleColor": "#222222",
        "labelFontSize": 10,
        "titleFontSize": 11,
        "labelFlush": False,
        "tickCount": 5,
        **_AXIS,
    },
    "legend": {
        "orient": "bottom",
        "direction": "horizontal",
        "title": None,
        "labelFontSize": 10,
        "labelLimit": 0,
        "labelColor": "#222222",
        "symbolType": "stroke",
        "symbolSize": 500,
        "symbolStrokeWidth": 1.6,
        "offset": 6,
        "rowPadding": 1,
        "columnPadding": 14,
    },
}


# ---- the builder


@dataclass(frozen=True)
class _Medium:
    """What sets the page and print apart.

    Attributes:
        colour: of a curve.
        hollow: fills the dots of dashed curves.
        ink: of the rule.
        widths: of lines, bars and the rule.
        filter: which points are seen; empty: all.
    """

    colour: Callable[[Curve], str]
    hollow: str
    ink: str
    widths: tuple[float, float, float]
    filter: str = ""


def _layers(
    figure: Figure, panel: Panel, data: Any, medium: _Medium, legend: alt.Legend | None
) -> tuple[alt.Chart, list[alt.Chart], dict[str, Any]]:
    """The chart that all begin with; lines, bands, bars and the rule; the encoding of dots."""
    names = [curve.label for curve in figure.curves]
    colours = [medium.colour(curve) for curve in figure.curves]
    fills = [colour if curve.solid else medium.hollow for curve, colour in zip(figure.curves, colours, strict=True)]
    dashes = [list(curve.dash) for curve in figure.curves]
    ranges = [alt.Scale(domain=names, range=values) for values in (colours, dashes, fills)]
    plain = alt.Color("curve:N", scale=ranges[0], legend=None)  # a band's legend would take the lines' away
    xs = [point["x"] for point in panel.points]
    ys = [*(point["y"] for point in panel.points), *figure.levels]
    base = alt.Chart(data).encode(
        x=alt.X("x:Q", **scaled(panel.x, xs)),
        y=alt.Y("y:Q", **scaled(panel.y, ys)),
    )
    base = base.transform_filter(medium.filter) if medium.filter else base
    line, bar, rule = medium.widths
    curve = {"color": alt.Color("curve:N", scale=ranges[0], legend=legend), "detail": "line:N"}
    dash = alt.StrokeDash("curve:N", scale=ranges[1], legend=legend)
    layers = [base.mark_line(strokeWidth=line, clip=True).encode(strokeDash=dash, **curve)]
    if any("least" in point for point in panel.points):
        area = base.transform_filter("isValid(datum.least)").mark_area(opacity=BAND, clip=True, tooltip=None)
        layers.append(area.encode(y="least:Q", y2="most:Q", color=plain, detail="line:N"))
    if any("low" in point for point in panel.points):
        layers.append(base.mark_rule(strokeWidth=bar).encode(y="low:Q", y2="high:Q", color=curve["color"]))
    if figure.level is not None:
        level = alt.Chart(alt.Data(values=[{"y": figure.level}])).mark_rule(strokeWidth=rule, color=medium.ink)
        layers.append(level.encode(y="y:Q"))
    return base, layers, {"color": plain, "fill": alt.Fill("curve:N", scale=ranges[2], legend=None)}


def scaled(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    """Title, scale and labels of an axis that shows such values."""
    ends = {"domainMin": axis.least, "domainMax": axis.most} if axis.logarithmic else {"domainMax": axis.most}
    cut = {name: value for name, value in ends.items() if value is not None}
    shown: dict[str, Any] = {"format": ",~r"}
    if not axis.logarithmic:
        scale = alt.Scale(zero=False, nice=False, **cut, **_ROOM)
        return {"title": axis.title, "scale": scale, "axis": alt.Axis(**shown)}
    low, high = (min(max(end, axis.least or 0), axis.most or math.inf) for end in (min(values), max(values)))
    ticks = list(axis.ticks) or _ticks(low, high, ((1,),) if axis.powers else ((1, 2, 5), (1, 3), (1,)))
    if len(ticks) > 2:  # else the renderer finds round numbers
        shown |= {"values": ticks, "tickCount": len(ticks)}
        if axis.powers:
            labels = json.dumps([typeset(f"{tick:.0e}") for tick in ticks], ensure_ascii=False)
            shown = {**shown, "format": alt.Undefined, "labelExpr": f"{labels}[indexof({ticks}, datum.value)]"}
    scale = alt.Scale(type="log", nice=False, reverse=axis.reverse, **cut, **_ROOM)
    return {"title": axis.title, "scale": scale, "axis": alt.Axis(**shown)}


def _ticks(low: float, high: float, choices: Sequence[Sequence[int]]) -> list[float]:
    """Multiples of powers of ten between two values: of the first factors that make few, else every second or third."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in choices:
        ticks = [tick for n in exponents for factor in factors if low <= (tick := float(f"{factor}e{n}")) <= high]
        if len(ticks) <= _MOST_TICKS:
            return ticks
    return ticks[:: 1 + len(ticks) // _MOST_TICKS]


# ---- the page


def interactive(figure: Figure) -> list[dict[str, Any]]:
    """A specification for each panel, that the page completes by ``CONFIG``, and its ``points``, packed."""
    return [{"spec": _interactive(figure, panel), "points": packed(panel.points)} for panel in figure.panels]


def packed(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Points as columns, a group for each line of the same runs: what they share is written once."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for point in points:
        shared = {name: point[name] for name in ("curve", "line", "runs", "dot") if name in point}
        columns = {name: value for name, value in point.items() if name not in shared}
        group = groups.setdefault(
            (*map(str, shared.values()), *columns), {**shared, "columns": {name: [] for name in columns}}
        )
        for name, value in columns.items():
            group["columns"][name].append(value)
    return list(groups.values())


_PAGE = _Medium(
    lambda curve: f"var(--{curve.colour})",
    "var(--paper)",
    "var(--ink)",
    (1.8, 1.2, 1),
    "indexof(hidden, datum.curve) < 0",
)


def _interactive(figure: Figure, panel: Panel) -> dict[str, Any]:
    """Curves through points, that the page switches off by the parameter ``hidden``; the nearest point shows itself."""
    base, layers, dots = _layers(figure, panel, alt.NamedData("points"), _PAGE, None)
    near = alt.selection_point(name="near", on="pointerover", nearest=True, empty=False, clear="pointerout")
    opacity = alt.when(near).then(alt.value(1)).when("datum.dot").then(alt.value(0.9)).otherwise(alt.value(0))
    tooltip = alt.value(alt.expr(_tooltip(panel.x, panel.y, any("spread" in point for point in panel.points))))
    points = base.mark_point(size=60, strokeWidth=2, cursor="pointer", clip=True)
    layers.append(points.encode(opacity=opacity, tooltip=tooltip, **dots).properties(name="points").add_params(near))
    chart = (
        alt.layer(*layers)
        .add_params(alt.param(name="hidden", value=[]))
        .properties(width="container", height=250, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    )
    return {name: value for name, value in chart.to_dict().items() if name != "config"}


def _tooltip(x: Axis, y: Axis, spread: bool) -> str:
    """What a point says: an expression, as Vega-Lite's own tooltip of the nearest point loses names of curves."""
    row = "(datum.datum || datum)"
    values = [("curve", f"{row}.curve"), (x.title, f"format({row}.x, '~g')"), (y.title, f"format({row}.y, '.4~g')")]
    values += [("over seeds", f"{row}.spread || '1 seed'")] if spread else []
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in values) + "}"


# ---- print


def export(figure: Figure, folder: Path) -> list[Path]:
    """Write a figure as SVG and PNG, light, at the width of a text column; returns the files.

    The same records make the same bytes.
    """
    text = _numbered_from_1(vl_convert.vegalite_to_svg(printed(figure)))
    svg, png = (folder / f"{figure.stem}.{kind}" for kind in ("svg", "png"))
    write_text(svg, text)
    with Image.open(BytesIO(vl_convert.svg_to_png(text, scale=SCALE))) as picture, replacing(png) as temporary:
        # A palette: the few colours of a drawing need an eighth of the room.
        small = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(temporary, format="PNG", optimize=True)
    return [svg, png]


def printed(figure: Figure) -> dict[str, Any]:
    """The specification of all panels, with one legend."""
    title = {"title": alt.TitleParams(figure.where.replace("`", ""), **_WHERE)} if figure.where else {}
    chart = alt.concat(*(_printed(figure, panel) for panel in figure.panels), columns=_COLUMNS, spacing=16, **title)
    chart = chart.resolve_scale(color="shared", strokeDash="shared", fill="shared").configure(**_PRINT_CONFIG)
    return _visible(chart.to_dict())


def _visible(node: Any) -> Any:
    """The renderer ends the whole process at some characters that are no sign, so none gets there."""
    if isinstance(node, dict):
        return {key: _visible(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_visible(value) for value in node]
    return drawn(node) if isinstance(node, str) else node


_PRINT = _Medium(lambda curve: COLOURS[curve.colour][0], "white", "#222222", (1.5, 1, 0.8))


def _printed(figure: Figure, panel: Panel) -> alt.LayerChart:
    room = min(_COLUMNS, len(figure.panels)) * (_WIDTH + 60)
    longest = max(len(curve.label) for curve in figure.curves)
    legend = alt.Legend(columns=max(1, int(room // (longest * _LETTER + 45))))
    base, layers, dots = _layers(figure, panel, alt.Data(values=panel.points), _PRINT, legend)
    if any("dot" in point for point in panel.points):
        seen = base.transform_filter("datum.dot").mark_point(size=18, strokeWidth=1.5, opacity=1)
        layers.append(seen.encode(**dots))
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=panel.title)


def _numbered_from_1(svg: str) -> str:
    """With the names of clipping areas, which count on from drawing to drawing, numbered anew."""
    clips = {name: f"clip{n}" for n, name in enumerate(dict.fromkeys(re.findall(r"\bclip\d+\b", svg)), 1)}
    return re.sub(r"\bclip\d+\b", lambda match: clips[match[0]], svg)
