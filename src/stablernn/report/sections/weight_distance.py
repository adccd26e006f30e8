"""The recurrent weights of feed-forward models that differ in k alone: how far they come apart in training."""

from typing import Any

from stablernn.records.record import Record
from stablernn.report.labels import describe_constraints
from stablernn.report.load import Found, setting
from stablernn.report.names import MODEL_NAMES
from stablernn.report.sections.truncation import short
from stablernn.report.tables import Table
from stablernn.utils.wording import counted


def weight_distance_table(found: Found) -> Table:
    """A line for each model and constraint, a column for each k; the distance at the end of training."""
    reference = found[0][1]["options"]["reference"]
    ks = sorted({setting(record, "truncation.k") for record, _ in found} - {reference})
    heads = ["model", "stability", "lr", *(f"k={k}" for k in ks), "moved"]
    lines, runs = [], []
    for (name, stability, lr), group in families(found).items():
        cells: dict[int, list[float]] = {}
        for record, result in group:
            cells.setdefault(setting(record, "truncation.k"), []).append(result["distance"][-1])
        at = {k: tuple(r.id for r, _ in group if setting(r, "truncation.k") == k) for k in [*ks, reference]}
        runs.append(dict(enumerate([*(at[k] for k in ks), at[reference]], 3)))
        moved = [result["reference_moved"][-1] for _, result in group]
        lines.append(
            [
                MODEL_NAMES.get(name, name),
                stability,
                f"{lr:g}",
                *(short(sum(cells[k]) / len(cells[k])) if k in cells else "–" for k in ks),
                f"{sum(moved) / len(moved):.2g}",
            ]
        )
    seeds = len({setting(record, "seed") for record, _ in found})
    notes = [
        f"k=...: ‖W_k - W_{reference}‖_F of the recurrent matrices at the end, for feed-forward models from the same "
        "weights on the same batches",
        f"moved: how far W_{reference} came from its start, ‖W_{reference} - W_initial‖_F",
        f"after {counted(found[0][1]['updates'][-1], 'update')}, {'mean of ' * (seeds > 1)}{counted(seeds, 'seed')}",
    ]
    return Table("Distance of the weights in training", heads, lines, notes, runs=runs)


def families(found: Found) -> dict[tuple[str, str, float], list[tuple[Record, dict[str, Any]]]]:
    """The runs that differ in k and seed alone, by model, constraint and learning rate, in the order of the tables."""
    groups: dict[tuple[str, str, float], list[tuple[Record, dict[str, Any]]]] = {}
    for (record, result), constraint in zip(found, describe_constraints([record for record, _ in found]), strict=True):
        key = (setting(record, "model.name"), constraint, setting(record, "optimizer.lr"))
        groups.setdefault(key, []).append((record, result))
    order = list(MODEL_NAMES)
    return {
        key: sorted(groups[key], key=lambda entry: setting(entry[0], "truncation.k"))
        for key in sorted(
            groups,
            key=lambda key: (
                order.index(key[0]) if key[0] in order else 99,
                -key[2],
                "unstable" not in key[1],
                key,
            ),
        )
    }
