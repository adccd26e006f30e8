"""What a figure is before anyone draws it: curves with names, panels of points, and the runs behind every point."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, geometric_mean
from typing import Any

MOST = 6  # curves in a panel: more cannot be distinguished


@dataclass(frozen=True)
class Curve:
    """A name beside its end, a colour of the palette, and a dash pattern."""

    label: str
    colour: str
    dash: tuple[int, ...] = (1, 0)

    @property
    def solid(self) -> bool:
        """Its dots are filled; those of a dashed curve are hollow."""
        return self.dash[1] == 0


@dataclass(frozen=True)
class Axis:
    """What is written at an axis, and how values lie on it.

    Attributes:
        title: with its unit.
        logarithmic: shows positive values only.
        powers: its labels are powers of ten, where they span some.
        ticks: labels that are wished for.
        reverse: large values first.
        least: curves leave a logarithmic axis below it,
        most: and above it.
        own: each panel has limits of its own.
    """

    title: str
    logarithmic: bool = True
    powers: bool = False
    ticks: tuple[float, ...] = ()
    reverse: bool = False
    least: float | None = None
    most: float | None = None
    own: bool = False

    def shows(self, value: float) -> bool:
        return value > 0 or not self.logarithmic


@dataclass(frozen=True)
class Level:
    """A horizontal rule in each panel, its name beside it, in a colour of the palette."""

    value: float
    name: str = ""
    colour: str = "ink"
    dash: tuple[int, ...] = (1, 0)


@dataclass(frozen=True)
class Panel:
    """Points ``{curve, line, x, y, runs}`` in one pair of axes.

    A point with ``dot`` is seen as one, with ``low`` and ``high`` it has a bar. ``least`` and ``most`` bound a band
    around a line. A ``name`` is written beside the panel, in the place of that of its curve.
    """

    title: str
    points: list[dict[str, Any]]
    x: Axis
    y: Axis


@dataclass(frozen=True)
class Figure:
    """Panels with the same limits, unless their axes say otherwise.

    Attributes:
        name: of what is drawn, the beginning of its files' names.
        title: what it shows, in a sentence.
        caption: how to read it.
        curves: of all panels.
        panels: none is empty.
        levels: rules, in each panel.
        place: text and profile, as the end of its files' names.
        where: the same for readers.
    """

    name: str
    title: str
    caption: str
    curves: tuple[Curve, ...]
    panels: tuple[Panel, ...]
    levels: tuple[Level, ...] = ()
    place: str = ""
    where: str = ""

    @property
    def stem(self) -> str:
        """The name of its files, without an ending."""
        return f"{self.name}_{self.place}" if self.place else self.name

    @property
    def runs(self) -> list[str]:
        """Behind its points."""
        points = [point for panel in self.panels for point in panel.points]
        return list(dict.fromkeys(run for point in points for run in point["runs"].split()))

    def xs(self, panel: Panel) -> list[float]:
        """What the lower axis of a panel has to show: its points, or those of all panels."""
        panels = [panel] if panel.x.own else self.panels
        return [point["x"] for each in panels for point in each.points]

    @property
    def ys(self) -> list[float]:
        """What an axis has to show: all points, the ends of their bars and bands, and the rules."""
        points, ends = [point for panel in self.panels for point in panel.points], ("y", "low", "high", "least", "most")
        values = [point[end] for point in points for end in ends if end in point]
        return [value for value in (*values, *(level.value for level in self.levels)) if self.panels[0].y.shows(value)]

    def names_of(self, panel: Panel) -> list[tuple[str, str, float]]:
        """Name, colour and height of what is written beside a panel: named points, ends of other curves, and levels."""
        points = sorted(panel.points, key=lambda point: point["x"], reverse=panel.x.reverse)
        colours = {curve.label: curve.colour for curve in self.curves_of(panel)}
        names = [(point["name"], colours[point["curve"]], point["y"]) for point in points if "name" in point]
        last = {point["curve"]: point["y"] for point in points}
        unnamed = colours.keys() - {point["curve"] for point in points if "name" in point}
        names += [(curve, colour, last[curve]) for curve, colour in colours.items() if curve in unnamed]
        return names + [(level.name, level.colour, level.value) for level in self.levels if level.name]

    def curves_of(self, panel: Panel) -> list[Curve]:
        there = {point["curve"] for point in panel.points}
        return [curve for curve in self.curves if curve.label in there]


@dataclass
class Drawing:
    """Collects curves by panel; a curve that comes again is one."""

    _curves: dict[str, Curve] = field(default_factory=dict)
    _panels: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def announce(self, curves: Iterable[Curve]) -> None:
        """The order of curves, where it is not that of drawing."""
        for curve in curves:
            self._curves.setdefault(curve.label, curve)

    def line(self, panel: str, curve: Curve, points: Iterable[tuple[float, float]], runs: Sequence[str]) -> None:
        """All of a line of the same runs; several lines may share a curve."""
        line = f"{curve.label} {' '.join(runs)}"
        for x, y in points:
            self._add(panel, curve, line, x, y, runs, {})

    def band(
        self, panel: str, curve: Curve, points: Iterable[tuple[float, float, float, float]], runs: Sequence[str]
    ) -> None:
        """A line through x, y with a band from the third to the fourth; no band where that has no width."""
        line = f"{curve.label} {' '.join(runs)}"
        for x, y, least, most in points:
            more = {"least": least, "most": most} if least < most else {}
            self._add(panel, curve, line, x, y, runs, more)

    def once(self, panel: str, curve: Curve, points: Iterable[tuple[float, float]], runs: Sequence[str]) -> None:
        """A line that is the same whichever run tells it."""
        if not any(point["curve"] == curve.label for point in self._panels.get(panel, ())):
            self.line(panel, curve, points, runs)

    def point(self, panel: str, curve: Curve, x: float, y: float, runs: Sequence[str], **more: Any) -> None:
        """A point of a curve whose points have runs of their own, seen as a dot; with its own ``line`` not joined."""
        self._add(panel, curve, curve.label, x, y, runs, {"dot": True, **more})

    def _add(self, panel: str, curve: Curve, line: str, x: float, y: float, runs: Sequence[str], more: dict) -> None:
        self._curves.setdefault(curve.label, curve)
        point = {"curve": curve.label, "line": line, "x": x, "y": y, "runs": " ".join(runs), **more}
        self._panels.setdefault(panel, []).append(point)

    def figure(
        self,
        name: str,
        title: str,
        caption: str,
        x: Axis,
        y: Axis,
        levels: Sequence[Level] = (),
        cut: float | None = None,
    ) -> Figure | None:
        """All of it as a figure; None where there is nothing that its axes can show.

        A panel shows the first ``MOST`` of its curves, and the lines of one curve as their mean with a band.
        ``cut``: panels end at so many times the highest end of a line, so that their beginnings take no room.
        """
        panels, left = [], {}
        for head, points in self._panels.items():
            shown = [point for point in points if x.shows(point["x"]) and y.shows(point["y"])]
            there = [label for label in self._curves if any(point["curve"] == label for point in shown)]
            left |= dict.fromkeys(there[MOST:])
            if there:
                kept = [over_lines([p for p in shown if p["curve"] == label], y.powers) for label in there[:MOST]]
                panels.append(Panel(head, [point for points in kept for point in points], x, y))
        if not panels:
            return None
        drawn = {point["curve"] for panel in panels for point in panel.points}
        curves = tuple(curve for label, curve in self._curves.items() if label in drawn)
        if cut is not None:
            ends = [{point["line"]: point["y"] for point in panel.points}.values() for panel in panels]
            most = cut * max(max(values) for values in ends)
            panels = [replace(panel, y=replace(y, most=most)) for panel in panels]
        if left:
            caption += f" Not drawn in every panel: {', '.join(left)}."
        return Figure(name, title, caption, curves, tuple(panels), tuple(levels))


def over_lines(points: list[dict[str, Any]], geometric: bool) -> list[dict[str, Any]]:
    """The points of one curve: several lines as their mean, as far as all of them go, with a band from least to most.

    ``geometric``: of the mean, where values span powers of ten.
    """
    on_lines, dots = ([point for point in points if ("dot" in point) is dot] for dot in (False, True))
    lines = {point["line"]: point["runs"] for point in on_lines}
    if len(lines) < 2:
        return points
    curve, mean = points[0]["curve"], geometric_mean if geometric else fmean
    shared = {"curve": curve, "line": curve, "runs": " ".join(dict.fromkeys(" ".join(lines.values()).split()))}
    at: dict[float, list[float]] = {}
    for point in on_lines:
        at.setdefault(point["x"], []).append(point["y"])
    means = [
        {**shared, "x": x, "y": mean(values), "least": min(values), "most": max(values)}
        for x, values in at.items()
        if len(values) == len(lines)
    ]
    return [*means, *dots]


def evenly(values: Sequence[Any], count: int = MOST) -> list[Any]:
    """So many of the values, the first and the last among them."""
    last = len(values) - 1
    return [values[round(n * last / (count - 1))] for n in range(count)] if last >= count else list(values)
