"""Speed of feed-forward against recurrent models."""

from collections.abc import Mapping
from typing import Any

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.shared import model_name
from stablernn.report.names import rank
from stablernn.report.palette import shades
from stablernn.report.sections.sequences import contexts_of, ratio


def speed_curves(file: str, measured: Mapping[str, Any]) -> Figure | None:
    """Times as fast as the recurrent model against the length of the sequence; ``file``: of the measurements."""
    drawing = Drawing()
    cases = list(measured["cases"].values())
    colours = shades(sorted({k for case in cases for k in contexts_of(case)}))
    batches = sorted({case["batch"] for case in cases})
    dashes = {batch: ((1, 0), (6, 3), (2, 3))[min(n, 2)] for n, batch in enumerate(batches)}
    curves = {(k, b): Curve(f"k = {k}, batch {b}", colours[k], dashes[b]) for k in colours for b in batches}
    for case in sorted(cases, key=lambda case: (case["work"], rank(case["model"]), case["steps"])):
        for k in contexts_of(case):
            value = ratio(measured, case, k, whole=True)
            if value is not None:
                panel = f"{model_name(case['model'])}, {case['work']}"
                drawing.point(panel, curves[k, case["batch"]], case["steps"], value, (file,))
    return drawing.figure(
        "speed",
        f"Speed on {measured['hardware']}",
        "Feed-forward against recurrent, whole models with their softmax; above the line at 1 feed-forward is faster.",
        Axis("steps of the sequence"),
        Axis("times as fast as recurrent"),
        level=1,
    )
