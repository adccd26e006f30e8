"""Figures for the page: Vega-Lite that takes its colours from the page's CSS, and the points, packed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from stablernn.report.axes import scaled
from stablernn.report.figure import Axis, Figure, Panel

FONT = "Charter, 'Bitstream Charter', 'Iowan Old Style', Cambria, Georgia, 'Noto Serif', 'DejaVu Serif', serif"
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
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
        "labelSeparation": 2,
        "tickCount": 6,
    },
}
BAND = 0.18  # opacity
_HEIGHT, _LABELS = 250, 6


def interactive(figure: Figure) -> list[dict[str, Any]]:
    """A specification for each panel, that the page completes by ``CONFIG``, and its ``points``, packed."""
    return [{"spec": _panel(figure, panel), "points": packed(panel.points)} for panel in figure.panels]


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


def _panel(figure: Figure, panel: Panel) -> dict[str, Any]:
    """Curves through points, that the page switches off by the parameter ``hidden``; the nearest point shows itself."""
    labels = [curve.label for curve in figure.curves]
    colours = [f"var(--{curve.colour})" for curve in figure.curves]
    fills = [colour if curve.solid else "var(--paper)" for curve, colour in zip(figure.curves, colours, strict=True)]
    dashes = [list(curve.dash) for curve in figure.curves]
    colour = alt.Color("curve:N", legend=None, scale=alt.Scale(domain=labels, range=colours))
    dash = alt.StrokeDash("curve:N", legend=None, scale=alt.Scale(domain=labels, range=dashes))
    hidden = alt.param(name="hidden", value=[])
    base = (
        alt.Chart(alt.NamedData("points"))
        .transform_filter("indexof(hidden, datum.curve) < 0")
        .encode(
            x=alt.X("x:Q", **scaled(panel.x, [point["x"] for point in panel.points], _LABELS)),
            y=alt.Y("y:Q", **scaled(panel.y, [*(point["y"] for point in panel.points), *figure.levels], _LABELS)),
        )
    )
    near = alt.selection_point(name="near", on="pointerover", nearest=True, empty=False, clear="pointerout")
    layers: list[alt.Chart] = []
    if any("least" in point for point in panel.points):
        area = base.transform_filter("isValid(datum.least)").mark_area(opacity=BAND, clip=True, tooltip=None)
        layers.append(area.encode(y="least:Q", y2="most:Q", color=colour, detail="line:N"))
    layers += [base.mark_line(strokeWidth=1.8, clip=True).encode(color=colour, strokeDash=dash, detail="line:N")]
    if any("low" in point for point in panel.points):
        layers.append(base.mark_rule(strokeWidth=1.2).encode(y="low:Q", y2="high:Q", color=colour))
    if figure.level is not None:
        rule = alt.Chart(alt.Data(values=[{"y": figure.level}])).mark_rule(strokeWidth=1, color="var(--ink)")
        layers.append(rule.encode(y="y:Q"))
    layers.append(
        base.mark_point(size=60, strokeWidth=2, cursor="pointer", clip=True)
        .encode(
            color=colour,
            fill=alt.Fill("curve:N", legend=None, scale=alt.Scale(domain=labels, range=fills)),
            opacity=alt.when(near).then(alt.value(1)).when("datum.dot").then(alt.value(0.9)).otherwise(alt.value(0)),
            tooltip=alt.value(alt.expr(_told(panel.x, panel.y, any("spread" in point for point in panel.points)))),
        )
        .properties(name="points")
        .add_params(near)
    )
    drawn = (
        alt.layer(*layers)
        .add_params(hidden)
        .properties(width="container", height=_HEIGHT, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    )
    return {name: value for name, value in drawn.to_dict().items() if name != "config"}


def _told(x: Axis, y: Axis, spread: bool) -> str:
    """What a point says: an expression, as Vega-Lite's own tooltip of the nearest point loses names of curves."""
    row = "(datum.datum || datum)"
    values = [("curve", f"{row}.curve"), (x.title, f"format({row}.x, '~g')"), (y.title, f"format({row}.y, '.4~g')")]
    values += [("over seeds", f"{row}.spread || '1 seed'")] if spread else []
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in values) + "}"
