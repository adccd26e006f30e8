"""The time of an update of each mechanism of memory against the LSTM's, from the JSON that a benchmark leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.load import load_bench
from stablernn.report.names import CONSTRAINTS
from stablernn.report.sections.bench import milliseconds, write_tables
from stablernn.report.sections.peer_speed import peer_table
from stablernn.report.table import Column, Entry, Table, key, text
from stablernn.utils.wording import counted


def write_mechanisms(path: Path) -> list[Path]:
    """The table of the measurements that there are, printed and written; returns the file."""
    measured = load_bench(path, "mechanisms")
    if measured is None or not measured["cases"]:
        return []
    return [write_tables(path, f"Updates of mechanisms of memory on {where(measured)}", [mechanism_table(measured)])]


def write_peers(path: Path) -> list[Path]:
    """Likewise that of feed-forward networks."""
    measured = load_bench(path, "peers")
    if measured is None or not measured["cases"]:
        return []
    return [write_tables(path, f"Feed-forward networks against the LSTM on {where(measured)}", [peer_table(measured)])]


def where(measured: Mapping[str, Any]) -> str:
    """Processor and threads."""
    return f"{measured['hardware']} ({counted(measured['threads'], 'thread')})"


def mechanism_table(measured: Mapping[str, Any]) -> Table:
    """A line for each task and cell, the fastest of a task first."""
    entries: list[list[Entry]] = [
        [
            *(case["dataset"], model_name(case["model"]), CONSTRAINTS.get(case["stability"], case["stability"])),
            *(case["parameters"], case["seconds"]["this"], case["seconds"]["lstm"], case["ratio"]),
        ]
        for case in sorted(measured["cases"].values(), key=lambda case: (case["dataset"], case["ratio"]))
    ]
    columns = [*map(text, ("task", "model", "constraint")), key("parameters", ",d")]
    columns += [Column(head, milliseconds) for head in ("ms", "LSTM ms")]
    columns.append(Column("update / LSTM", ".2g"))
    notes = [
        "an update as the experiment of the task trains, a projection included",
        "alternating updates in one process; times are medians, update / LSTM is the median over pairs",
    ]
    return Table("An update against the LSTM’s", columns, entries, notes)
