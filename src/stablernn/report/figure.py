"""What a figure is before anyone draws it: curves with names, panels of points, and the runs behind every point."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Curve:
    """A name in the legend, a colour of the palette, and a dash pattern."""

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
    """

    title: str
    logarithmic: bool = True
    powers: bool = False
    ticks: tuple[float, ...] = ()
    reverse: bool = False
    least: float | None = None
    most: float | None = None

    def shows(self, value: float) -> bool:
        return value > 0 or not self.logarithmic


@dataclass(frozen=True)
class Panel:
    """Points ``{curve, line, x, y, runs}`` in one pair of axes.

    A point with ``dot`` is seen as one, with ``low`` and ``high`` it has a bar, ``spread`` says how wide. ``least`` and
    ``most`` bound a band around a line.
    """

    title: str
    points: list[dict[str, Any]]
    x: Axis
    y: Axis


@dataclass(frozen=True)
class Figure:
    """Panels with one legend.

    Attributes:
        name: of what is drawn, the beginning of its files' names.
        title, caption: above it.
        curves: the entries of the legend.
        panels: none is empty.
        level: a horizontal rule in each panel.
        place: text and profile, as the end of its files' names.
        where: the same for readers.
    """

    name: str
    title: str
    caption: str
    curves: tuple[Curve, ...]
    panels: tuple[Panel, ...]
    level: float | None = None
    place: str = ""
    where: str = ""

    @property
    def stem(self) -> str:
        """The name of its files, without an ending."""
        return f"{self.name}_{self.place}" if self.place else self.name

    @property
    def levels(self) -> list[float]:
        """The rule, if there is one: an axis labels it like a point."""
        return [] if self.level is None else [self.level]


@dataclass
class Drawing:
    """Collects curves by panel; a curve that comes again is one entry of the legend."""

    _curves: dict[str, Curve] = field(default_factory=dict)
    _panels: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def announce(self, curves: Iterable[Curve]) -> None:
        """The order of the legend, where it is not that of drawing."""
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
            more = {"least": least, "most": most, "spread": f"{least:.4g} to {most:.4g}"} if len(runs) > 1 else {}
            self._add(panel, curve, line, x, y, runs, more)

    def once(self, panel: str, curve: Curve, points: Iterable[tuple[float, float]], runs: Sequence[str]) -> None:
        """A line that is the same whichever run tells it."""
        if not any(point["curve"] == curve.label for point in self._panels.get(panel, ())):
            self.line(panel, curve, points, runs)

    def point(self, panel: str, curve: Curve, x: float, y: float, runs: Sequence[str], **more: Any) -> None:
        """One point of a curve whose points have runs of their own, seen as a dot."""
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
        level: float | None = None,
        cut: float | None = None,
    ) -> Figure | None:
        """All of it as a figure; None where there is nothing that its axes can show.

        ``cut``: a panel ends at so many times the highest end of its lines, so that their beginnings take no room.
        """
        shown = {
            head: [point for point in points if x.shows(point["x"]) and y.shows(point["y"])]
            for head, points in self._panels.items()
        }
        panels = tuple(Panel(head, points, x, _ending(y, points, cut)) for head, points in shown.items() if points)
        drawn = {point["curve"] for panel in panels for point in panel.points}
        curves = tuple(curve for label, curve in self._curves.items() if label in drawn)
        return Figure(name, title, caption, curves, panels, level) if panels else None


def _ending(axis: Axis, points: Sequence[Mapping[str, Any]], cut: float | None) -> Axis:
    """The axis up to ``cut`` times the highest last point of a line, if points lie above that."""
    if cut is None:
        return axis
    most = cut * max({point["line"]: point["y"] for point in points}.values())
    return replace(axis, most=most) if any(point["y"] > most for point in points) else axis
