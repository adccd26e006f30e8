"""An examination as figures and as a page."""

from pathlib import Path
from typing import Any

from stablernn.examination.examination import Examination
from stablernn.report.drawing import chart, examination_page, export
from stablernn.report.figure import Axis, Curve, Drawing, Figure, Level
from stablernn.utils.files import write_text

_ROUNDING = 3e-8  # of float32: what is below is not drawn
_RUN = ("examined",)


def figures(e: Examination) -> list[Figure]:
    """Score against k; what truncation changes, measured and proven; norms of the gradient."""
    found = [_scores(e) if e.scored else None, _changes(e), _gradients(e)]
    return [figure for figure in found if figure]


def charts(e: Examination, folder: Path | str | None) -> list[Any]:
    """See ``Examination.plot``."""
    drawn = figures(e)
    if folder is not None:
        for figure in drawn:
            export(figure, Path(folder))
    return [chart(figure) for figure in drawn]


def save(e: Examination, path: Path) -> Path:
    """See ``Examination.save``."""
    write_text(path, examination_page(f"{e.name}, examined", str(e), figures(e)))
    return path


def _inputs(e: Examination) -> Axis:
    return Axis(f"k ({e.metric.items})", ticks=(1, 2, 5, 10, 20, 50, 100, 200, 500))


def _scores(e: Examination) -> Figure | None:
    drawing, ks, value = Drawing(), e.curve["k"], e.curve["recurrent"]["value"]
    drawing.line(
        "", Curve(f"feed-forward, last k {e.metric.items}", "stable"), zip(ks, e.curve["value"], strict=True), _RUN
    )
    drawing.line("", Curve("recurrent", "ink", (2, 3)), [(1, value), (ks[-1], value)], _RUN)
    return drawing.figure(
        "score",
        "Score against k",
        f"The same weights, seeing the last k {e.metric.items} alone, against the recurrent network that sees all.",
        _inputs(e),
        Axis(e.metric.name),
    )


def _changes(e: Examination) -> Figure | None:
    drawing, ks = Drawing(), e.curve["k"]

    def line(name: str, colour: str, values: Any, dash: tuple[int, ...] = (1, 0)) -> None:
        seen = [(k, value) for k, value in zip(ks, values, strict=False) if value is not None and value > _ROUNDING]
        if seen:
            drawing.line("", Curve(name, colour, dash), seen, _RUN)

    if e.scored:
        line("mean, measured", "stable", [abs(value) for value in e.curve["loss_change"]])
        line("largest of any, measured", "unstable", e.curve["largest"])
    else:
        line("largest, measured", "unstable", e.curve["state"]["largest"])
    # A bound above what any change can be says nothing.
    most = 10 * max([*e.curve["largest"], *e.curve["state"]["largest"]])
    bounds = e.on_text["bounds"] if e.on_text else []
    line("proven, this text", "green", [b if b <= most else None for b in bounds], (5, 3))
    proven = e.curve["certified"]["nats"] or []
    line("proven, any input", "wine", [b if b <= most else None for b in proven], (9, 3, 2, 3))
    what = "nats" if e.scored else "of an entry"
    return drawing.figure(
        "change",
        "What truncation changes",
        f"Beside ε = {e.epsilon:g}; proven bounds where they are within reach.",
        _inputs(e),
        Axis(f"change, {what}", powers=True),
        levels=[Level(e.epsilon)],
    )


def _gradients(e: Examination) -> Figure | None:
    if e.gradient is None:
        return None
    drawing = Drawing()
    for name, colour in (("mean", "stable"), ("median", "unstable")):
        points = [(i, value) for i, value in enumerate(e.gradient[name]) if i and value > 0]
        drawing.line("", Curve(name, colour), points, _RUN)
    return drawing.figure(
        "gradient",
        "How far back the gradient reaches",
        "Norm of the gradient of a loss by the input i positions before.",
        Axis(f"i ({e.metric.items} before)", logarithmic=False),
        Axis("gradient norm", powers=True),
    )
