"""Figures for print, as SVG and PNG: light, at the width of a text column, the same bytes from the same records.

All letters are of one typeface that comes with the renderer, so the fonts of a machine change nothing. It lacks most
raised and lowered signs; they are set as a compositor would set them, as smaller letters off the line.
"""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from PIL import Image

from stablernn.report.axes import scaled
from stablernn.report.figure import Figure, Panel
from stablernn.report.interactive import BAND
from stablernn.report.judgement import typeset
from stablernn.report.palette import COLOURS
from stablernn.utils.escaping import drawn
from stablernn.utils.files import replacing, write_text

SCALE = 2  # pixels of a PNG for each unit of its SVG
_COLUMNS, _WIDTH, _HEIGHT = 2, 205, 150  # of panels: together 5.5 inches wide, with labels of 8 points
_LABELS = 4  # of an axis, about
_COLOURS = 128  # of a PNG
_LETTER = 5.4  # mean width of one in the legend
_WHERE: dict[str, Any] = {"fontSize": 10, "color": "#666666", "offset": 8}  # text and profile above the panels
_CONFIG: dict[str, Any] = {
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
        "titleFontWeight": "normal",
        "labelFlush": False,
        "labelOverlap": "greedy",
        "labelSeparation": 2,
        "tickCount": 5,
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


def export(figure: Figure, folder: Path) -> list[Path]:
    """Write a figure as SVG and PNG; returns the files."""
    text = _set(vl_convert.vegalite_to_svg(_specification(figure)))
    svg, png = (folder / f"{figure.stem}.{kind}" for kind in ("svg", "png"))
    write_text(svg, text)
    with Image.open(BytesIO(vl_convert.svg_to_png(text, scale=SCALE))) as picture, replacing(png) as temporary:
        # A palette: the few colours of a drawing need an eighth of the room.
        small = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(temporary, format="PNG", optimize=True)
    return [svg, png]


def _specification(figure: Figure) -> dict[str, Any]:
    told = {"title": alt.TitleParams(_marked(figure.where.replace("`", "")), **_WHERE)} if figure.where else {}
    shown = alt.concat(*(_panel(figure, panel) for panel in figure.panels), columns=_COLUMNS, spacing=16, **told)
    shown = shown.resolve_scale(color="shared", strokeDash="shared", fill="shared").configure(**_CONFIG).to_dict()
    return _visible(shown)


def _visible(node: Any) -> Any:
    """The renderer ends the whole process at some characters that are no sign, so none gets there."""
    if isinstance(node, dict):
        return {key: _visible(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_visible(value) for value in node]
    return drawn(node) if isinstance(node, str) else node


def _panel(figure: Figure, panel: Panel) -> alt.LayerChart:
    labels = [_marked(curve.label) for curve in figure.curves]
    room = min(_COLUMNS, len(figure.panels)) * (_WIDTH + 60) // (max(map(len, labels)) * _LETTER + 45)
    legend = alt.Legend(columns=max(1, int(room)))
    colours = alt.Scale(domain=labels, range=[COLOURS[curve.colour][0] for curve in figure.curves])
    dashes = alt.Scale(domain=labels, range=[list(curve.dash) for curve in figure.curves])
    points = [{**point, "curve": _marked(point["curve"])} for point in panel.points]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("x:Q", **scaled(panel.x, [point["x"] for point in points], _LABELS, _marked)),
        y=alt.Y("y:Q", **scaled(panel.y, [*(point["y"] for point in points), *figure.levels], _LABELS, _marked)),
        color=alt.Color("curve:N", scale=colours, legend=legend),
    )
    dash = alt.StrokeDash("curve:N", scale=dashes, legend=legend)
    layers: list[alt.Chart] = [base.mark_line(strokeWidth=1.5, clip=True).encode(strokeDash=dash, detail="line:N")]
    if any("least" in point for point in points):
        area = base.transform_filter("isValid(datum.least)").mark_area(opacity=BAND, clip=True)
        # Behind the lines it would take the legend away.
        colour = alt.Color("curve:N", scale=colours, legend=None)
        layers.append(area.encode(y="least:Q", y2="most:Q", detail="line:N", color=colour))
    if any("low" in point for point in points):
        layers.append(base.mark_rule(strokeWidth=1).encode(y="low:Q", y2="high:Q"))
    if figure.level is not None:
        rule = alt.Chart(alt.Data(values=[{"y": figure.level}])).mark_rule(strokeWidth=0.8, color="#222222")
        layers.append(rule.encode(y="y:Q"))
    if any("dot" in point for point in points):
        fills = [COLOURS[curve.colour][0] if curve.solid else "white" for curve in figure.curves]
        fill = alt.Fill("curve:N", scale=alt.Scale(domain=labels, range=fills), legend=None)
        dots = base.transform_filter("datum.dot").mark_point(size=18, strokeWidth=1.5, opacity=1)
        layers.append(dots.encode(color=alt.Color("curve:N", scale=colours, legend=None), fill=fill))
    return alt.LayerChart(layer=layers, width=_WIDTH, height=_HEIGHT, title=_marked(panel.title))


def _marked(text: str) -> str:
    """Raised and lowered signs as letters of the typeface, between marks."""

    def mark(found: re.Match) -> str:
        return (_UP if found[0][0] in _RAISED else _DOWN) + found[0].translate(_ON_LINE) + _END

    text = re.sub(r"((?<!\w)[A-Zλ]|‖)_(\w+)", lambda found: f"{found[1]}{_DOWN}{found[2]}{_END}", typeset(text))
    return re.sub(f"[{_RAISED}]+|[{_LOWERED}]+", mark, text)


def _set(svg: str) -> str:
    """What is between marks, smaller and off the line; and names of clipping areas that every drawing counts from 1."""
    clips = {name: f"clip{n}" for n, name in enumerate(dict.fromkeys(re.findall(r"\bclip\d+\b", svg)), 1)}
    svg = re.sub(r"\bclip\d+\b", lambda found: clips[found[0]], svg)
    return re.sub(r">([^<>]*\u200c[^<>]*)<", lambda found: f">{_off_line(found[1])}<", svg)


def _off_line(text: str) -> str:
    out, height = [], 0.0
    for up, down, plain in re.findall(f"{_UP}(.*?){_END}|{_DOWN}(.*?){_END}|([^\u200c]+)", text):
        target, size = (0.35, 0.7) if up else (-0.2, 0.7) if down else (0.0, 1.0)
        style = "" if plain else ' font-size="70%"'
        out.append(f'<tspan dy="{(height - target) / size:.2f}em"{style}>{up or down or plain}</tspan>')
        height = target
    return "".join(out)
