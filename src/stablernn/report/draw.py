"""Figures as Vega-Lite, from one builder: all panels for print as SVG and PNG, and a panel alone for the page.

All letters of a print are of one typeface that comes with the renderer, so the fonts of a machine change nothing. It
lacks most raised and lowered signs; they are set as a compositor would set them, as smaller letters off the line.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode
from PIL import Image

from stablernn.report.compact import compact
from stablernn.report.figure import Axis, Figure, Panel
from stablernn.report.palette import COLOURS
from stablernn.report.text import RAISED, typeset
from stablernn.utils.escaping import drawn
from stablernn.utils.files import replacing, write_text

SCALE = 3  # pixels of a PNG for each unit of its SVG: some 300 to the inch at the width of a page
_COLUMNS, _SIZE, _PAGE_SIZE = 2, (165, 150), (244, 160)  # of panels: in print together some 6.5 inches wide
_COLOURS = 128  # of a PNG
_BAND = 0.18  # opacity
_LINE = 11  # pixels from one label of a curve to the next
_ROOM = 0.04  # of an axis, around the points: none lies on the edge
_LABELS = 4  # of an axis, about
_MOST_STEPS = 5  # labels of several digits side by side
_AXIS: dict[str, Any] = {
    "domainColor": "#888888",
    "gridColor": "#E6E6E6",
    "tickColor": "#888888",
    "labelColor": "#222222",
    "titleColor": "#222222",
    "labelFontSize": 10,
    "titleFontSize": 11,
    "titleFontWeight": "normal",
    "labelFlush": False,
    "labelOverlap": "greedy",
    "labelSeparation": 2,
    "tickCount": 5,
}
_CONFIG: dict[str, Any] = {
    "background": "white",
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": None},
    "title": {"fontSize": 11, "fontWeight": "normal", "anchor": "start", "frame": "group", "color": "#222222"},
    "axis": _AXIS,
}
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁽⁾ᵏ", "₀₁₂₃₄₅₆₇₈₉ᵣ"
_ON_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789−+()k0123456789r")
# Two letters of no width begin what is off the line: the renderer measures the rest as it stands.
_UP, _DOWN, _END = "\u200c\u200c", "\u200c\u200d", "\u200d\u200d"
_UNCHECKED = debug_mode(False)  # a check of every part against the schema takes half of the time; a test makes it once


# ---- axes


def scaled(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    """Title, scale and labels of an axis that shows some values: round numbers, powers of ten, and no label twice."""
    title = _marked(f"{axis.title}, log scale" if axis.logarithmic else axis.title)
    shown: dict[str, Any] = {"format": ",~r"}
    limits = {"domain": list(domain(axis, values)), "nice": False}
    if not axis.logarithmic:
        return {"title": title, "scale": alt.Scale(zero=False, **limits), "axis": alt.Axis(**shown)}
    most = math.inf if axis.most is None else axis.most
    values = [min(max(value, axis.least or 0), most) for value in values]
    ticks, decades = list(axis.ticks), _decades(values)
    if axis.powers and len(decades) > 2:
        # Powers beside which d3 would write 1e-7.
        first = math.floor(math.log10(decades[0]))
        powers = [_marked("10" + str(n).translate(RAISED)) if n not in (0, 1) else str(10**n) for n in range(first, 41)]
        ticks = decades
        shown = {"labelExpr": f"{json.dumps(powers, ensure_ascii=False)}[round(log(datum.value) / LN10) - {first}]"}
    elif not ticks:
        low, high = min(values), max(values)
        ticks = (
            _round_numbers(low, high, _LABELS) if high / low < 20 else decades if len(decades) > 3 else _steps(values)
        )
    # Without a count Vega would leave out every second tick where there are more than the usual few.
    shown |= {"values": ticks, "tickCount": len(ticks)}
    return {"title": title, "scale": alt.Scale(type="log", reverse=axis.reverse, **limits), "axis": alt.Axis(**shown)}


def domain(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis: of the values as far as it shows them, and some room."""
    low = max(min(values), -math.inf if axis.least is None else axis.least)
    high = min(max(values), math.inf if axis.most is None else axis.most)
    if axis.logarithmic:
        room = max(high / low, 1.1) ** _ROOM
        return low / room, high * room
    room = (high - low or abs(high) or 1.0) * _ROOM
    return low - room, high + room


def _steps(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, ... between values; 1, 3, 10, ... where those would be too many."""
    low, high = min(values), max(values)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    finer, coarser = (
        [step for n in exponents for factor in factors if low <= (step := float(f"{factor}e{n}")) <= high]
        for factors in ((1, 2, 5), (1, 3))
    )
    return finer if len(finer) <= _MOST_STEPS + 1 else coarser


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


# ---- a panel


def _panel(figure: Figure, panel: Panel, size: tuple[int, int]) -> alt.LayerChart:
    """Bands, lines, bars, dots, rules, and at the end of each curve its name."""
    width, height = size[0], max(size[1], _LINE * max(map(len, map(figure.names_of, figure.panels))))
    curves = figure.curves_of(panel)
    colours = [COLOURS[curve.colour][0] for curve in curves]
    fills = [colour if curve.solid else "white" for curve, colour in zip(curves, colours, strict=True)]

    def by_curve(values: Sequence[Any]) -> dict[str, Any]:
        return {"scale": alt.Scale(domain=[curve.label for curve in curves], range=list(values)), "legend": None}

    base = alt.Chart(alt.NamedData(_points_of(figure, panel))).encode(
        x=alt.X("x:Q", **scaled(panel.x, figure.xs(panel))),
        y=alt.Y("y:Q", **scaled(panel.y, figure.ys)),
        color=alt.Color("curve:N", **by_curve(colours)),
    )
    layers: list[alt.Chart] = []
    if any("least" in point for point in panel.points):
        area = base.transform_filter("isValid(datum.least)").mark_area(opacity=_BAND, clip=True)
        layers.append(area.encode(y="least:Q", y2="most:Q", detail="line:N"))
    dashes = alt.StrokeDash("curve:N", **by_curve([list(curve.dash) for curve in curves]))
    layers.append(base.mark_line(strokeWidth=1.5, clip=True).encode(strokeDash=dashes, detail="line:N"))
    if any("low" in point for point in panel.points):
        layers.append(base.mark_rule(strokeWidth=1, clip=True).encode(y="low:Q", y2="high:Q"))
    if any("dot" in point for point in panel.points):
        dots = base.transform_filter("datum.dot").mark_point(size=18, strokeWidth=1.5, opacity=1, clip=True)
        layers.append(dots.encode(fill=alt.Fill("curve:N", **by_curve(fills))))
    for level in figure.levels:
        style = {"strokeWidth": 0.8, "color": COLOURS[level.colour][0], "strokeDash": list(level.dash)}
        layers.append(alt.Chart(alt.Data(values=[{"y": level.value}])).mark_rule(**style).encode(y="y:Q"))
    for name, shade, place in _labels(figure, panel, height):
        text = {"text": _marked(name), "color": shade, "fontSize": 10, "align": "left", "baseline": "middle"}
        layers.append(alt.Chart(alt.Data(values=[{}])).mark_text(x=width + 5, y=place, **text))
    return alt.LayerChart(layer=layers, width=width, height=height, title=_marked(panel.title))


def _points_of(figure: Figure, panel: Panel) -> str:
    """The name of a panel's points: a chart that has its data by name is copied without them, layer by layer."""
    return f"panel {next(at for at, other in enumerate(figure.panels) if other is panel)}"


def _labels(figure: Figure, panel: Panel, height: int) -> list[tuple[str, str, float]]:
    """Name, colour and height of what is written at the right of a panel, each at its height, but apart."""
    low, high = domain(panel.y, figure.ys)
    across = math.log if panel.y.logarithmic else float

    def place(value: float) -> float:
        share = (across(min(max(value, low), high)) - across(low)) / (across(high) - across(low))
        return height * (1 - share)

    ends = sorted((place(y), name, COLOURS[colour][0]) for name, colour, y in figure.names_of(panel))
    return [(*end[1:], at) for end, at in zip(ends, apart([end[0] for end in ends], height), strict=True)]


def apart(places: Sequence[float], most: float) -> list[float]:
    """Ascending places, moved as little as is needed for a line of text each, up to ``most``."""
    moved: list[float] = []
    for place in places:
        moved.append(max([place, *(before + _LINE for before in moved[-1:])]))
    for back, place in enumerate(reversed(moved)):
        moved[-1 - back] = min(place, most - back * _LINE)
    return moved


# ---- print and page


def export(figure: Figure, folder: Path) -> list[Path]:
    """Write a figure as SVG and PNG, light, at the width of a text column; returns the files.

    The same records make the same bytes.
    """
    return save(svg(figure), folder / figure.stem)


def save(text: str, stem: Path) -> list[Path]:
    """Write a drawing beside ``stem`` as SVG and PNG; returns the files."""
    vector, png = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png"))
    write_text(vector, text)
    with Image.open(BytesIO(vl_convert.svg_to_png(text, scale=SCALE))) as picture, replacing(png) as temporary:
        # A palette: the few colours of a drawing need an eighth of the room.
        small = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(temporary, format="PNG", optimize=True)
    return [vector, png]


def svg(figure: Figure) -> str:
    """A figure for print as SVG."""
    return rendered(printed(figure))


def rendered(specification: dict[str, Any]) -> str:
    """A specification of Vega-Lite as SVG."""
    return _off_line_signs(vl_convert.vegalite_to_svg(specification))


@_UNCHECKED
def printed(figure: Figure) -> dict[str, Any]:
    """The specification of all panels, under the title."""
    where: dict[str, Any] = {"subtitle": _marked(figure.where.replace("`", ""))} if figure.where else {}
    title = alt.TitleParams(_marked(figure.title), fontWeight="bold", subtitleColor="#666666", offset=10, **where)
    charts = (_panel(figure, panel, _SIZE) for panel in figure.panels)
    chart = alt.concat(*charts, columns=_COLUMNS, spacing=16, title=title)
    chart = chart.resolve_scale(color="independent", strokeDash="independent", fill="independent")
    return styled(chart, {_points_of(figure, panel): panel.points for panel in figure.panels})


def styled(chart: alt.TopLevelMixin, points: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> dict[str, Any]:
    """A chart in the style of all figures, as a specification; ``points``: its data by name, where it has them so."""
    made = chart.configure(**_CONFIG).to_dict(validate=False)
    return _visible(made | {"datasets": made.get("datasets", {}) | (points or {})})


@_UNCHECKED
def drawings(figure: Figure, name: str) -> list[str]:
    """A drawing for each panel, for the page: in the colours of its style sheet; ``name``: of what they define."""
    made = [
        compact(rendered(styled(_panel(figure, panel, _PAGE_SIZE), {_points_of(figure, panel): panel.points})))
        for panel in figure.panels
    ]
    return [re.sub(r"\bclip(\d+)\b", rf"{name}-{n}-\1", svg) for n, svg in enumerate(made)]


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
