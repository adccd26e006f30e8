"""The recurrent weights of feed-forward models that differ in k alone: how far they come apart in training."""

from statistics import mean
from typing import Any

from stablernn.records.record import Record
from stablernn.report.curves import DOTTED, model_name
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import describe_constraints
from stablernn.report.load import STUDIES, Analyses, setting
from stablernn.report.names import rank
from stablernn.report.palette import shades
from stablernn.report.section import Section, of_analysis
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import short
from stablernn.utils.wording import counted


def weight_distance_table(analyses: Analyses) -> Table:
    """A line for each model and constraint, a column for each k; the distance at the end of training."""
    reference = analyses[0][1]["options"]["reference"]
    ks = _lengths(analyses)
    entries: list[list[Entry]] = []
    for (name, stability, lr), group in families(analyses).items():
        entries.append([model_name(name), stability, lr])
        for k in [*ks, reference]:
            own = group if k == reference else [entry for entry in group if _k(entry[0]) == k]
            values = [result["reference_moved" if k == reference else "distance"][-1] for _, result in own]
            runs = tuple(record.id for record, _ in group if _k(record) == k)
            entries[-1].append(Value(mean(values) if values else None, runs=runs))
    seeds = len({setting(record, "seed") for record, _ in analyses})
    notes = [
        f"k=...: ‖W_k - W_{reference}‖_F of the recurrent matrices at the end, for feed-forward models from the same "
        "weights on the same batches",
        f"moved: how far W_{reference} came from its start, ‖W_{reference} - W_initial‖_F",
        f"after {counted(analyses[0][1]['updates'][-1], 'update')}, {'mean of ' * (seeds > 1)}{counted(seeds, 'seed')}",
    ]
    columns = [text("model"), text("stability"), key("lr", "g"), *(Column(f"k={k}", short) for k in ks)]
    columns.append(Column("moved", ".2g"))
    return Table("Distance of the weights in training", columns, entries, notes, runs=[()] * len(entries))


def _k(record: Record) -> int:
    return setting(record, "truncation.k")


def _lengths(analyses: Analyses) -> list[int]:
    """The k that are held against the reference."""
    return sorted({_k(record) for record, _ in analyses} - {analyses[0][1]["options"]["reference"]})


def families(analyses: Analyses) -> dict[tuple[str, str, float], list[tuple[Record, dict[str, Any]]]]:
    """The runs that differ in k and seed alone, by model, constraint and learning rate, in the order of the tables."""
    groups: dict[tuple[str, str, float], list[tuple[Record, dict[str, Any]]]] = {}
    constraints = describe_constraints([record for record, _ in analyses])
    for (record, result), constraint in zip(analyses, constraints, strict=True):
        kind = (setting(record, "model.name"), constraint, setting(record, "optimizer.lr"))
        groups.setdefault(kind, []).append((record, result))

    def order(kind: tuple[str, str, float]) -> tuple:
        model, constraint, lr = kind
        return rank(model), -lr, "unstable" not in constraint, kind

    return {kind: sorted(groups[kind], key=lambda entry: _k(entry[0])) for kind in sorted(groups, key=order)}


def distance_curves(analyses: Analyses) -> list[Figure | None]:
    """How far the weights of different k come apart."""
    drawing = Drawing()
    reference = analyses[0][1]["options"]["reference"]
    curves = {k: Curve(f"k = {k}", colour) for k, colour in shades(_lengths(analyses)).items()}
    for (model, stability, lr), group in families(analyses).items():
        panel = f"{model_name(model)}, {stability}, learning rate {lr:g}"
        for record, result in group:
            if _k(record) != reference:
                points = zip(result["updates"], result["distance"], strict=True)
                drawing.line(panel, curves[_k(record)], points, (record.id,))
        last, result = group[-1]
        moved = Curve(f"k = {reference} from its start", "ink", DOTTED)
        drawing.line(panel, moved, zip(result["updates"], result["reference_moved"], strict=True), (last.id,))
    apart = [result["distance"][-1] / max(result["reference_moved"][-1], 1e-12) for _, result in analyses]
    figure = drawing.figure(
        "weight_distance",
        f"Weights of different k come apart by up to {max(apart):.0%} of the way that they go",
        f"‖W_k − W_{reference}‖_F of feed-forward models that start from the same weights and see the same batches.",
        Axis("update", logarithmic=False),
        Axis("distance (Frobenius)", powers=True),
    )
    return [figure]


SECTION = Section(
    "weights",
    "Weights of different k",
    "How far the weights of feed-forward models of different k come apart while they are trained.",
    of_analysis("weight_distance", weight_distance_table, distance_curves),
    "weight_distance",
    ("C3",),
    STUDIES,
)
