"""Figures as Vega-Lite, from one builder: for print as SVG and PNG, and for the page with the points beside it.

What is drawn with is imported when it is needed: training needs none of it, nor do tables.

All letters of a print are of one typeface that comes with the renderer, so the fonts of a machine change nothing. It
lacks most raised and lowered signs; they are set as a compositor would set them, as smaller letters off the line.
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
from stablernn.report.text import RAISED, typeset
from stablernn.utils.escaping import drawn
from stablernn.utils.files import replacing, write_text

FONT = "Charter, 'Bitstream Charter', 'Iowan Old Style', Cambria, Georgia, 'Noto Serif', 'DejaVu Serif', serif"
BAND = 0.18  # opacity
SCALE = 2  # pixels of a PNG for each unit of its SVG
_COLUMNS, _WIDTH, _HEIGHT = 2, 205, 150  # of panels in print: together 5.5 inches wide, with labels of 8 points
_COLOURS = 128  # of a PNG
_LETTER = 5.4  # mean width of one in the legend
_MOST_STEPS = 6  # labels of several digits side by side
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
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
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
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁽⁾ᵏ", "₀₁₂₃₄₅₆₇₈₉ᵣ"
_ON_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789−+()k0123456789r")
# Two letters of no width begin what is off the line: the renderer measures the rest as it stands.
_UP, _DOWN, _END = "\u200c\u200c", "\u200c\u200d", "\u200d\u200d"


# ---- the builder


@dataclass(frozen=True)
class _Medium:
    """What sets the page and print apart.

    Attributes:
        typeset: applied to all text.
        colour: of a curve.
        hollow: fills the dots of dashed curves.
        ink: of the rule.
        widths: of lines, bars and the rule.
        labels: of an axis, about.
        filter: which points are seen; empty: all.
    """

    typeset: Callable[[str], str]
    colour: Callable[[Curve], str]
    hollow: str
    ink: str
    widths: tuple[float, float, float]
    labels: int
    filter: str = ""


def _layers(
    figure: Figure, panel: Panel, data: Any, medium: _Medium, legend: alt.Legend | None
) -> tuple[alt.Chart, list[alt.Chart], dict[str, Any]]:
    """The chart that all begin with; lines, bands, bars and the rule; the encoding of dots."""
    names = [medium.typeset(curve.label) for curve in figure.curves]
    colours = [medium.colour(curve) for curve in figure.curves]
    fills = [colour if curve.solid else medium.hollow for curve, colour in zip(figure.curves, colours, strict=True)]
    dashes = [list(curve.dash) for curve in figure.curves]
    ranges = [alt.Scale(domain=names, range=values) for values in (colours, dashes, fills)]
    plain = alt.Color("curve:N", scale=ranges[0], legend=None)  # a band's legend would take the lines' away
    xs = [point["x"] for point in panel.points]
    ys = [*(point["y"] for point in panel.points), *figure.levels]
    base = alt.Chart(data).encode(
        x=alt.X("x:Q", **scaled(panel.x, xs, medium.labels, medium.typeset)),
        y=alt.Y("y:Q", **scaled(panel.y, ys, medium.labels, medium.typeset)),
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


def scaled(axis: Axis, values: Sequence[float], count: int, typeset: Callable[[str], str] = str) -> dict[str, Any]:
    """Title, scale and labels of an axis: round numbers, powers of ten, and no label twice.

    Args:
        values: what it shows.
        count: of labels, about, where round numbers are chosen.
        typeset: applied to whatever is written.
    """
    title = typeset(axis.title)
    shown: dict[str, Any] = {"format": ",~r"}
    ends = {"domainMin": axis.least, "domainMax": axis.most} if axis.logarithmic else {"domainMax": axis.most}
    cut = {name: value for name, value in ends.items() if value is not None}
    if not axis.logarithmic:
        return {"title": title, "scale": alt.Scale(zero=False, nice=False, **cut, **_ROOM), "axis": alt.Axis(**shown)}
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
    scale = alt.Scale(type="log", nice=False, reverse=axis.reverse, **cut, **_ROOM)
    return {"title": title, "scale": scale, "axis": alt.Axis(**shown)}


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
    str,
    lambda curve: f"var(--{curve.colour})",
    "var(--paper)",
    "var(--ink)",
    (1.8, 1.2, 1),
    6,
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
    text = _off_line_signs(vl_convert.vegalite_to_svg(printed(figure)))
    svg, png = (folder / f"{figure.stem}.{kind}" for kind in ("svg", "png"))
    write_text(svg, text)
    with Image.open(BytesIO(vl_convert.svg_to_png(text, scale=SCALE))) as picture, replacing(png) as temporary:
        # A palette: the few colours of a drawing need an eighth of the room.
        small = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(temporary, format="PNG", optimize=True)
    return [svg, png]


def printed(figure: Figure) -> dict[str, Any]:
    """The specification of all panels, with one legend."""
    title = {"title": alt.TitleParams(_marked(figure.where.replace("`", "")), **_WHERE)} if figure.where else {}
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


def _marked(text: str) -> str:
    """Raised and lowered signs as letters of the typeface, between marks."""

    def mark(match: re.Match) -> str:
        return (_UP if match[0][0] in _RAISED else _DOWN) + match[0].translate(_ON_LINE) + _END

    text = re.sub(r"((?<!\w)[A-Zλ]|‖)_(\w+)", lambda match: f"{match[1]}{_DOWN}{match[2]}{_END}", typeset(text))
    return re.sub(f"[{_RAISED}]+|[{_LOWERED}]+", mark, text)


_PRINT = _Medium(_marked, lambda curve: COLOURS[curve.colour][0], "white", "#222222", (1.5, 1, 0.8), 4)


def _printed(figure: Figure, panel: Panel) -> alt.LayerChart:
    room = min(_COLUMNS, len(figure.panels)) * (_WIDTH + 60)
    longest = max(len(_marked(curve.label)) for curve in figure.curves)
    legend = alt.Legend(columns=max(1, int(room // (longest * _LETTER + 45))))
    points = [{**point, "curve": _marked(point["curve"])} for point in panel.points]
    base, layers, dots = _layers(figure, panel, alt.Data(values=points), _PRINT, legend)
    if any("dot" in point for point in points):
        seen = base.transform_filter("datum.dot").mark_point(size=18, strokeWidth=1.5, opacity=1)
        layers.append(seen.encode(**dots))
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=_marked(panel.title))


def _off_line_signs(svg: str) -> str:
    """What is between marks, smaller and off the line; and names of clipping areas that every drawing counts from 1."""
    clips = {name: f"clip{n}" for n, name in enumerate(dict.fromkeys(re.findall(r"\bclip\d+\b", svg)), 1)}
    svg = re.sub(r"\bclip\d+\b", lambda match: clips[match[0]], svg)
    return re.sub(r">([^<>]*\u200c[^<>]*)<", lambda match: f">{_off_line(match[1])}<", svg)


def _off_line(text: str) -> str:
    out, height = [], 0.0
    for up, down, plain in re.findall(f"{_UP}(.*?){_END}|{_DOWN}(.*?){_END}|([^\u200c]+)", text):
        target, size = (0.35, 0.7) if up else (-0.2, 0.7) if down else (0.0, 1.0)
        style = "" if plain else ' font-size="70%"'
        out.append(f'<tspan dy="{(height - target) / size:.2f}em"{style}>{up or down or plain}</tspan>')
        height = target
    return "".join(out)
