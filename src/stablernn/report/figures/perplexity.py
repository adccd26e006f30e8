"""The study's own models: learning curves, and perplexity against the k of training."""

import statistics
from collections.abc import Sequence

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.shared import BEST_POSSIBLE, DASHES, constraint_colours, model_name
from stablernn.report.judgement import typeset
from stablernn.report.load import Section
from stablernn.report.names import STABILITIES, approximation_name
from stablernn.report.rows import Cell, Row, rows
from stablernn.report.sections.perplexity import abridged, constraint_name

CUT = 1.5  # of a panel's highest end: what lies above tells the first steps alone


def learning_curves(section: Section) -> Figure | None:
    """Validation perplexity against epochs at the longest k: the mean of a cell's seeds, and their range as a band."""
    body, drawing = rows(abridged(section)), Drawing()
    plain = len({(row.approximation, row.k) for row in body}) == 1
    colours = _colours(body)
    for row in body:
        for name, cell in row.cells.items():
            constraint = label = curve_name(name, cell)
            if not plain:
                label += f", {approximation_name(row.approximation)}, k = {row.k}"
            drawing.band(
                model_name(row.model),
                Curve(label, colours[constraint], DASHES[row.approximation][0]),
                _over_seeds(cell),
                [run.id for run in cell.finished],
            )
    return drawing.figure(
        "learning_curves",
        "Learning curves",
        "Validation perplexity after each evaluation; with several seeds their mean, and a band from the lowest to the "
        "highest, as far as all of them went. The first evaluations may lie above the panel.",
        Axis("epoch", logarithmic=False),
        Axis("validation perplexity"),
        cut=CUT,
    )


def curve_name(name: str, cell: Cell) -> str:
    """The study's constraints by one name for both models, others as in the table."""
    return name if name in STABILITIES else typeset(constraint_name(cell.runs[0], name))


def _colours(body: Sequence[Row]) -> dict[str, str]:
    """By the name of the curve."""
    cells = [item for row in body for item in row.cells.items()]
    return constraint_colours((name.partition(",")[0], curve_name(name, cell)) for name, cell in cells)


def _over_seeds(cell: Cell) -> list[tuple[float, float, float, float]]:
    """Epoch, mean, lowest and highest validation perplexity, where every seed was evaluated."""
    scored: dict[float, list[float]] = {}
    for run in cell.finished:
        for entry in run.history:
            if entry.get("valid") is not None:
                scored.setdefault(entry["epoch"], []).append(entry["valid"])
    return [
        (epoch, statistics.mean(values), min(values), max(values))
        for epoch, values in sorted(scored.items())
        if len(values) == len(cell.finished)
    ]


def perplexity_by_k(section: Section) -> Figure | None:
    """Test perplexity against k, above the best that k words allow where that is known."""
    body, drawing, ks = rows(section), Drawing(), set()
    trained = {(row.approximation, row.k) for row in body}
    if len(trained) == len({approximation for approximation, _ in trained}) and not any(row.optimal for row in body):
        return None  # one k each is no curve
    colours = _colours(body)
    for row in body:
        for name, cell in row.cells.items():
            constraint = curve_name(name, cell)
            label = f"{constraint}, {approximation_name(row.approximation)}"
            curve = Curve(label, colours[constraint], DASHES[row.approximation][0])
            mean_over_seeds(drawing, row.model, curve, row.k, cell)
            ks.add(row.k)
    for row in body:
        if optimal := row.any_run.metrics.get("optimal"):
            curve = optimal["test_by_context"]
            ks.add(1)
            drawing.once(model_name(row.model), BEST_POSSIBLE, enumerate(curve, 1), (row.any_run.id,))
    return drawing.figure(
        "perplexity_by_k",
        "Perplexity against k",
        "Feed-forward models see k words; recurrent ones are trained with k steps of backpropagation and carry their "
        "state on.",
        Axis("k in training", ticks=tuple(sorted(ks))),
        Axis("test perplexity"),
    )


def mean_over_seeds(drawing: Drawing, model: str, curve: Curve, x: float, cell: Cell) -> None:
    """The mean of a cell as a point, with its standard deviation as a bar where there are several seeds."""
    if not cell.values:
        return
    mean, more = statistics.mean(cell.values), {}
    if len(cell.values) > 1:
        spread = statistics.stdev(cell.values)
        more = {"low": mean - spread, "high": mean + spread, "spread": f"± {spread:.1f}"}
    drawing.point(model_name(model), curve, x, mean, [run.id for run in cell.runs], **more)
