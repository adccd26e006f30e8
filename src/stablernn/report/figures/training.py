"""Recurrent against feed-forward training: perplexity at the same k, and how far the weights come apart."""

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.perplexity import mean_over_seeds
from stablernn.report.figures.shared import DASHES, constraint_colours, model_name
from stablernn.report.load import Found, Section, setting
from stablernn.report.names import APPROXIMATION_NAMES
from stablernn.report.palette import shades
from stablernn.report.rows import Cell
from stablernn.report.sections.sweep import pairs
from stablernn.report.sections.weight_distance import families


def sweep_curves(section: Section) -> Figure | None:
    """Test perplexity against the k of training."""
    drawing, found = Drawing(), pairs(section)
    colours = constraint_colours((pair.constraint.partition(",")[0], pair.told) for pair in found)
    for pair in found:
        for approximation, told in APPROXIMATION_NAMES.items():
            curve = Curve(f"{pair.told}, {told}", colours[pair.told], DASHES[approximation][0])
            mean_over_seeds(drawing, pair.model, curve, pair.k, pair.cells.get(approximation, Cell(())))
    return drawing.figure(
        "truncation_sweep",
        "Trained at k",
        "Recurrent models trained with k steps of backpropagation, feed-forward models with k words of context. "
        "All see the same words, so a larger k makes fewer updates: compare curves at one k.",
        Axis("k in training", ticks=tuple(sorted({pair.k for pair in found}))),
        Axis("test perplexity"),
    )


def distance_curves(found: Found) -> Figure | None:
    """How far the weights of different k come apart."""
    if not found:
        return None
    drawing = Drawing()
    reference = found[0][1]["options"]["reference"]
    ks = sorted({setting(record, "truncation.k") for record, _ in found} - {reference})
    curves = {k: Curve(f"k = {k}", colour) for k, colour in shades(ks).items()}
    for (model, stability, lr), group in families(found).items():
        panel = f"{model_name(model)}, {stability}, learning rate {lr:g}"
        for record, result in group:
            k = setting(record, "truncation.k")
            if k != reference:
                drawing.line(panel, curves[k], zip(result["updates"], result["distance"], strict=True), (record.id,))
        last, result = group[-1]
        moved = Curve(f"k = {reference} from its start", "ink", (2, 3))
        drawing.line(panel, moved, zip(result["updates"], result["reference_moved"], strict=True), (last.id,))
    return drawing.figure(
        "weight_distance",
        "Distance of the weights in training",
        f"‖W_k − W_{reference}‖_F of feed-forward models that start from the same weights and see the same batches.",
        Axis("update", logarithmic=False),
        Axis("distance (Frobenius)", powers=True),
    )
