"""What an update and a projection ask of a GPU, from the JSON that a benchmark leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.load import load_bench
from stablernn.report.sections.bench import write_tables
from stablernn.report.table import Column, Entry, Table, key, text

_COUNTS = [
    *(Column("GFLOP", ",.1f"), Column("products"), Column("products GB", ".2f")),
    *(Column("others"), Column("others GB", ".2f")),
]


def write_traffic(path: Path) -> list[Path]:
    """The tables of what was counted, printed and written; returns the files."""
    counts = load_bench(path, "traffic")
    if counts is None:
        return []
    return [
        write_tables(path, "Bytes and GFLOP of an update on a GPU", [update_table(counts), projection_table(counts)])
    ]


def update_table(counts: Mapping[str, Any]) -> Table:
    """A line for each model and kind of step."""
    entries: list[list[Entry]] = [
        [model_name(case["model"]), kind, case["size"], *_entries(case[kind])]
        for case in sorted(counts["cases"].values(), key=lambda case: (case["model"], case["size"]))
        for kind in ("plain", "ours")
    ]
    tied = ", ".join(name for name, case in sorted(counts["cases"].items()) if case["tied"])
    notes = [
        "counted on shapes, not measured: each operation reads each of its tensors once and writes each result once",
        "products: matrix products, with a recurrence of cuDNN as one; others: all other operations",
        "plain: autograd, cross_entropy, clip_grad_norm_ and SGD in float32; ours: in bf16; without dropout",
        f"33,278 types, 20 streams, windows of 35 steps; the decoder is the embedding: {tied}",
    ]
    return Table("An update", [text("model"), text("step"), key("d"), *_COUNTS], entries, notes)


def projection_table(counts: Mapping[str, Any]) -> Table:
    """A line for each constraint and size."""
    keys = ("model", "size", "stability")
    entries: list[list[Entry]] = [
        [
            *(model_name(case["model"]), case["stability"], case["size"], case["every"]),
            *_entries(case),
            case["products"]["flop"] / 1e9 / case["every"],
        ]
        for case in sorted(counts["projections"].values(), key=lambda case: [case[key] for key in keys])
    ]
    notes = [
        "in float32, by the path that reads no number; every: updates from one projection to the next, by default "
        "(the lease has 50); an update: GFLOP spread over those",
    ]
    columns = [text("model"), text("stability"), key("d"), key("every"), *_COUNTS, Column("GFLOP an update", ",.1f")]
    return Table("A projection", columns, entries, notes)


def _entries(case: Mapping[str, Any]) -> list[Entry]:
    products, rest = case["products"], case["rest"]
    sizes = [products["operations"], products["bytes"] / 1e9, rest["operations"], rest["bytes"] / 1e9]
    return [products["flop"] / 1e9, *sizes]
