"""Encoding and training at the size of WikiText-103, from the JSON that a benchmark leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stablernn.report.formats import markdown
from stablernn.report.load import load_bench
from stablernn.report.tables import Table
from stablernn.report.write import rich_table
from stablernn.utils.console import console
from stablernn.utils.escaping import markdown_text
from stablernn.utils.files import write_text
from stablernn.utils.wording import counted

_FULL_SIZE = 103_227_021  # tokens of WikiText-103's train split


def write_large(path: Path) -> list[Path]:
    """The tables of the measurements that there are, printed and written; returns the files."""
    measured = load_bench(path, "large")
    if measured is None or "encoding" not in measured:
        return []
    tables = [encoding_table(measured), training_table(measured)]
    for table in tables:
        console.print(rich_table(table))
    text = f"# A vocabulary of {measured['text']['types']:,} types on {markdown_text(measured['hardware'])}\n\n"
    write_text(path.with_suffix(".md"), text + "\n".join(markdown(table) for table in tables))
    return [path.with_suffix(".md")]


def encoding_table(measured: Mapping[str, Any]) -> Table:
    """One line: from the text to the memory-mapped ids."""
    found = measured["encoding"]
    tokens = sum(found["tokens"].values())
    heads = ["types", "tokens", "s", "tokens/s", "memory MB", "peak MB", "cache MB", "again s"]
    line = [
        f"{found['types']:,}",
        f"{tokens:,}",
        f"{found['seconds']:.1f}",
        f"{tokens / found['seconds']:,.0f}",
        *(f"{found[name] / 1e6:,.0f}" for name in ("memory", "peak", "bytes")),
        f"{found['again_seconds']:.2f}",
    ]
    whole = found["seconds"] * _FULL_SIZE / tokens
    notes = [
        "a made text in three files, in a process of its own; memory: its peak beyond what it held before; peak: of "
        "the whole process, libraries and all; again: loading what is encoded",
        f"at this rate the {_FULL_SIZE:,} tokens of WikiText-103 take {whole:,.0f} s",
    ]
    return Table("Encoding a text", heads, [line], notes)


def training_table(measured: Mapping[str, Any]) -> Table:
    """A line for each kind of step."""
    heads = ["softmax", "precision", "batch", "parts", "ms", "tokens/s", "step MB", "peak MB"]
    order = ("size", "batch", "accumulate", "head", "precision")
    lines = [
        [
            case["head"],
            case["precision_used"],
            str(case["batch"]),
            str(case["accumulate"]),
            f"{case['seconds'] * 1e3:,.0f}",
            f"{case['tokens_per_second']:,.0f}",
            f"{case['step_memory'] / 1e6:,.0f}",
            f"{case['peak'] / 1e6:,.0f}",
        ]
        for case in sorted(measured["cases"].values(), key=lambda case: [case[key] for key in order])
    ]
    sizes = sorted({str(case["size"]) for case in measured["cases"].values()})
    notes = [
        f"recurrent LSTM, d = {', '.join(sizes)}, windows of 35 steps, plain SGD; each in a process of its own, "
        "medians of its updates",
        "parts: training.accumulate; step: the peak of an update beyond what the process holds before it; peak: of the "
        "whole process",
        f"{counted(measured['threads'], 'thread')}",
    ]
    return Table("Training", heads, lines, notes)
