"""Encoding and training at the size of WikiText-103, from the JSON that a benchmark leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablernn.report.load import load_bench
from stablernn.report.sections.bench import write_tables
from stablernn.report.table import Column, Entry, Table, key, text
from stablernn.utils.wording import counted

_FULL_SIZE = 103_227_021  # tokens of WikiText-103's train split


def write_large(path: Path) -> list[Path]:
    """The tables of the measurements that there are, printed and written; returns the files."""
    measured = load_bench(path, "large")
    if measured is None or "encoding" not in measured:
        return []
    title = f"A vocabulary of {measured['text']['types']:,} types on {measured['hardware']}"
    return [write_tables(path, title, [encoding_table(measured), training_table(measured)])]


def encoding_table(measured: Mapping[str, Any]) -> Table:
    """One line: from the text to the memory-mapped ids."""
    encoding = measured["encoding"]
    tokens, seconds = sum(encoding["tokens"].values()), encoding["seconds"]
    entries: list[Entry] = [
        *(encoding["types"], tokens, seconds, tokens / seconds),
        *(encoding[name] / 1e6 for name in ("memory", "peak", "bytes")),
        encoding["again_seconds"],
    ]
    notes = [
        "a made text in three files, in a process of its own; memory: its peak beyond what it held before; peak: of "
        "the whole process, libraries and all; again: loading what is encoded",
        f"at this rate the {_FULL_SIZE:,} tokens of WikiText-103 take {seconds * _FULL_SIZE / tokens:,.0f} s",
    ]
    columns = [key("types", ",d"), key("tokens", ",d"), Column("s", ".1f"), Column("tokens/s", ",.0f")]
    columns += [Column(head, ",.0f") for head in ("memory MB", "peak MB", "cache MB")]
    return Table("Encoding a text", [*columns, Column("again s", ".2f")], [entries], notes)


def training_table(measured: Mapping[str, Any]) -> Table:
    """A line for each kind of step."""
    order = ("size", "batch", "accumulate", "head", "precision")
    entries: list[list[Entry]] = [
        [
            *(case["head"], case["precision_used"], case["batch"], case["accumulate"], case["seconds"] * 1e3),
            *(case["tokens_per_second"], case["step_memory"] / 1e6, case["peak"] / 1e6),
        ]
        for case in sorted(measured["cases"].values(), key=lambda case: [case[name] for name in order])
    ]
    sizes = sorted({str(case["size"]) for case in measured["cases"].values()})
    notes = [
        f"recurrent LSTM, d = {', '.join(sizes)}, windows of 35 steps, plain SGD; each in a process of its own, "
        "medians of its updates",
        "parts: training.accumulate; step: the peak of an update beyond what the process holds before it; peak: of the "
        "whole process",
        f"{counted(measured['threads'], 'thread')}",
    ]
    columns = [text("softmax"), text("precision"), key("batch"), key("parts")]
    columns += [Column(head, ",.0f") for head in ("ms", "tokens/s", "step MB", "peak MB")]
    return Table("Training", columns, entries, notes)
