"""What an update and a projection ask of a GPU, from the JSON that a benchmark leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablernn.report.formats import markdown
from stablernn.report.load import load_bench
from stablernn.report.names import MODEL_NAMES
from stablernn.report.tables import Table
from stablernn.report.write import rich_table
from stablernn.utils.console import console
from stablernn.utils.files import write_text


def write_traffic(path: Path) -> list[Path]:
    """The tables of what was counted, printed and written; returns the files."""
    counted = load_bench(path, "traffic")
    if counted is None:
        return []
    tables = [update_table(counted), projection_table(counted)]
    for table in tables:
        console.print(rich_table(table))
    text = "# Bytes and GFLOP of an update on a GPU\n\n"
    write_text(path.with_suffix(".md"), text + "\n".join(markdown(table) for table in tables))
    return [path.with_suffix(".md")]


def update_table(counted: Mapping[str, Any]) -> Table:
    """A line for each model and kind of step."""
    heads = ["model", "step", "d", "GFLOP", "products", "products GB", "others", "others GB"]
    lines = [
        [MODEL_NAMES.get(case["model"], case["model"]), kind, str(case["size"]), *_cells(case[kind])]
        for case in sorted(counted["cases"].values(), key=lambda case: (case["model"], case["size"]))
        for kind in ("plain", "ours")
    ]
    tied = ", ".join(name for name, case in sorted(counted["cases"].items()) if case["tied"])
    notes = [
        "counted on shapes, not measured: each operation reads each of its tensors once and writes each result once; "
        "views are free; where rows are picked from a table or added to one, those rows count",
        "products: matrix products, with a recurrence of cuDNN as one; others: all other operations",
        "plain: autograd, cross_entropy, clip_grad_norm_ and SGD in float32; ours: in bf16; without dropout",
        f"33,278 types, 20 streams, windows of 35 steps; the decoder is the embedding: {tied}",
    ]
    return Table("An update", heads, lines, notes)


def projection_table(counted: Mapping[str, Any]) -> Table:
    """A line for each constraint and size."""
    heads = [
        "model",
        "stability",
        "d",
        "every",
        "GFLOP",
        "products",
        "products GB",
        "others",
        "others GB",
        "GFLOP an update",
    ]
    lines = [
        [
            MODEL_NAMES.get(case["model"], case["model"]),
            case["stability"],
            *(str(case[name]) for name in ("size", "every")),
            *_cells(case),
            f"{case['products']['flop'] / 1e9 / case['every']:,.1f}",
        ]
        for case in sorted(
            counted["projections"].values(), key=lambda case: (case["model"], case["size"], case["stability"])
        )
    ]
    notes = [
        "in float32, by the path that looks at no number; every: updates from one projection to the next, by default "
        "(the lease has 50); an update: GFLOP spread over those",
    ]
    return Table("A projection", heads, lines, notes)


def _cells(found: Mapping[str, Any]) -> list[str]:
    products, rest = found["products"], found["rest"]
    return [
        f"{products['flop'] / 1e9:,.1f}",
        str(products["operations"]),
        f"{products['bytes'] / 1e9:.2f}",
        str(rest["operations"]),
        f"{rest['bytes'] / 1e9:.2f}",
    ]
