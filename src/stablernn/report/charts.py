"""What all interactive figures share: curves with names, panels as Vega-Lite, colours that follow the page's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from stablernn.report.drawing import COLOURS

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
OTHERS = ("green", "pink", "amber", "sky", "wine", "grey")
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
        "labelOverlap": True,
        "labelSeparation": 6,
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
    """``form``: how d3 writes its numbers; ``logarithmic`` axes show positive values only."""

    title: str
    logarithmic: bool = True
    form: str = "~g"
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
        .encode(x=alt.X("x:Q", **_scaled(x)), y=alt.Y("y:Q", **_scaled(y)))
    )
    near = alt.selection_point(name="near", on="pointerover", nearest=True, empty=False, clear="pointerout")
    layers = [base.mark_line(strokeWidth=1.8, clip=True).encode(color=colour, strokeDash=dash, detail="line:N")]
    if any("low" in entry for entry in kept):
        bars = base.mark_rule(strokeWidth=1.2).encode(y="low:Q", y2="high:Q", color=colour)
        layers.append(bars)
    if level is not None:
        rule = alt.Chart(alt.Data(values=[{"y": level}])).mark_rule(strokeWidth=1, color="var(--ink)")
        layers.append(rule.encode(y="y:Q"))
    told = [("curve:N", "curve", ""), ("x:Q", x.title, "~g"), ("y:Q", y.title, ".4~g")]
    told += [("spread:N", "± over seeds", "")] if any("spread" in entry for entry in kept) else []
    layers.append(
        base.mark_point(filled=True, size=70, cursor="pointer")
        .encode(
            color=colour,
            opacity=alt.condition(near, alt.value(1), alt.value(0.9 if dots else 0)),
            tooltip=[
                alt.Tooltip(field, title=title, **({"format": form} if form else {})) for field, title, form in told
            ],
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


def _scaled(axis: Axis) -> dict[str, Any]:
    scale: dict[str, Any] = {"type": "log", "nice": False} if axis.logarithmic else {"zero": False}
    shown: dict[str, Any] = {"format": axis.form}
    if axis.ticks:
        shown["values"] = list(axis.ticks)
    return {
        "title": axis.title,
        "scale": alt.Scale(**scale, **({"reverse": True} if axis.reverse else {})),
        "axis": alt.Axis(**shown),
    }
