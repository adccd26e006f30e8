"""The study's own models: learning curves, and perplexity against the k of training."""

import statistics
from collections.abc import Sequence

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.shared import BEST_POSSIBLE, DASHES, model_name
from stablernn.report.load import Section
from stablernn.report.tables import APPROXIMATION_NAMES, Cell, Row, rows


def learning_curves(section: Section) -> Figure | None:
    """Validation perplexity against epochs."""
    body, drawing = rows(section), Drawing()
    for row in body:
        for stability, cell in sorted(row.cells.items(), reverse=True):
            label = f"{stability}, {APPROXIMATION_NAMES[row.approximation]}, k = {row.k}"
            for run in cell.finished:
                scored = [entry for entry in run.history if entry.get("valid_perplexity") is not None]
                drawing.line(
                    model_name(row.model),
                    Curve(label, stability, _dash(row, body)),
                    [(entry["epoch"], entry["valid_perplexity"]) for entry in scored],
                    (run.id,),
                )
    return drawing.figure(
        "learning_curves",
        "Learning curves",
        "Validation perplexity after each evaluation.",
        Axis("epoch", logarithmic=False),
        Axis("validation perplexity"),
    )


def _dash(row: Row, body: Sequence[Row]) -> tuple[int, ...]:
    """The longest k of an approximation has its plainest line."""
    ks = sorted({other.k for other in body if other.approximation == row.approximation}, reverse=True)
    dashes = DASHES[row.approximation]
    return dashes[min(ks.index(row.k), len(dashes) - 1)]


def perplexity_by_k(section: Section) -> Figure | None:
    """Test perplexity against k, above the best that k words allow where that is known."""
    drawing, ks = Drawing(), set()
    for row in rows(section):
        for stability, cell in sorted(row.cells.items(), reverse=True):
            label = f"{stability}, {APPROXIMATION_NAMES[row.approximation]}"
            mean_over_seeds(drawing, row.model, Curve(label, stability, DASHES[row.approximation][0]), row.k, cell)
            ks.add(row.k)
    for row in rows(section):
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
        more = {"low": mean - spread, "high": mean + spread, "spread": f"{spread:.1f}"}
    drawing.point(model_name(model), curve, x, mean, [run.id for run in cell.runs], **more)
