"""Updates a second of the runs of a lease, from the JSON that its check leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.load import load_bench
from stablernn.report.names import CONSTRAINTS
from stablernn.report.sections.bench import write_tables
from stablernn.report.table import Column, Entry, Table, key, text


def write_lease(path: Path) -> list[Path]:
    """The tables of what was measured, printed and written; returns the file."""
    measured = load_bench(path, "lease")
    if measured is None:
        return []
    tables = [table for table in (kinds_table(measured), at_once_table(measured)) if table.rows]
    return [write_tables(path, f"Updates of Table 1 (profile {measured['profile']}) on {measured['device']}", tables)]


def per_second(rate: float) -> str:
    """Updates a second."""
    return f"{rate:,.{0 if rate >= 10 else 2}f}"


def kinds_table(measured: Mapping[str, Any]) -> Table:
    """A line for each kind of run."""
    entries: list[list[Entry]] = []
    for kind, rate in measured.get("updates_per_second", {}).items():
        model, stability = kind.split()
        entries.append([model_name(model), CONSTRAINTS.get(stability, stability), rate])
    columns = [text("model"), text("constraint"), Column("updates/s", per_second)]
    return Table("Each kind of run", columns, entries, ["of so many runs of the kind together: 8 on a GPU, 1 on a CPU"])


def at_once_table(measured: Mapping[str, Any]) -> Table:
    """A line for each model and number of runs, against the plain loop alone."""
    entries: list[list[Entry]] = []
    for model, rates in measured.get("at_once", {}).items():
        plain = [measured.get(kind, {}).get(model) for kind in ("plain", "plain_tf32")]
        for count in sorted(map(int, rates)):
            rate = rates[str(count)]
            against = [rate / other if other else None for other in (rates.get("1"), *plain)]
            entries.append([model_name(model), count, rate, *against])
    columns = [text("model"), key("runs"), Column("updates/s", per_second)]
    columns += [Column(head, ".2f") for head in ("/ one run", "/ plain", "/ plain with TF32")]
    notes = [
        "runs: so many train at once, in threads of one process; updates/s: of all of them together; unconstrained",
        "plain: the loop that everybody writes, alone, in float32 (recurrences of cuDNN as PyTorch has them) and "
        "without dropout; with TF32: of its matrix products too",
    ]
    return Table("Several runs at once, and the plain loop", columns, entries, notes)
