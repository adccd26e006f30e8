"""How long trained models remember: contraction of their state on the data, and the reach of their gradients."""

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.shared import WORDS, coloured
from stablernn.report.load import Found
from stablernn.report.palette import shades
from stablernn.report.sections.contraction import STAGE_NAMES
from stablernn.report.sections.gradient_horizon import in_order, moments, panels

_STAGE_DASHES = {"initial": (2, 3), "best": (1, 0), "last": (6, 3)}
_LEAST_GROWTH, _LEAST_GRADIENT = 1e-6, 1e-20  # smaller values are not shown


def contraction_curves(found: Found) -> Figure | None:
    """Largest growth of the distance of two states in r words, before training, at its best evaluation and its end."""
    drawing = Drawing()
    for model, constraint, colour, record, result in coloured(found):
        largest = {stage: result["stages"][stage]["largest"] for stage in STAGE_NAMES if stage in result["stages"]}
        for stage, values in largest.items():
            if stage != "last" or values != largest.get("best"):
                curve = Curve(f"{constraint}, {STAGE_NAMES[stage]}", colour, _STAGE_DASHES[stage])
                seen = [(r, value) for r, value in enumerate(values, 1) if value > _LEAST_GROWTH]
                drawing.line(model, curve, seen, (record.id,))
    return drawing.figure(
        "contraction",
        "Contraction on the data",
        "λ_r, the largest growth in r words of the distance of two states that gradient ascent found. Below "
        "the line at 1 the states approach each other.",
        Axis("r (words)", ticks=WORDS.ticks),
        Axis("λᵣ", powers=True),
        level=1,
    )


def gradient_figures(found: Found) -> list[Figure]:
    """Mean gradient of the loss by earlier words, through training."""
    drawing = Drawing()
    curves = {label: Curve(label, colour) for label, colour in shades(in_order(found)).items()}
    drawing.announce(curves.values())
    farthest = max((result["options"]["horizon"] for _, result in found), default=1)
    for title, group in panels(found).items():
        for record, result in group:
            for moment in moments(record, result):
                seen = [(i, value) for i, value in enumerate(moment.values["mean"]) if value > _LEAST_GRADIENT]
                drawing.line(title, curves[moment.label], seen, (record.id,))
    figure = drawing.figure(
        "gradient_horizon",
        "How far back gradients reach",
        "Mean norm of the gradient of the loss at t + i by the word at t, from before training (dark) to its end.",
        Axis("i (words)", logarithmic=False, most=farthest),
        Axis("mean norm of the gradient", powers=True),
    )
    return [figure] if figure else []
