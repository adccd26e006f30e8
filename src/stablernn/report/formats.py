"""Tables as Markdown, as comma-separated values and for the terminal."""

import csv
import io
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from stablernn.report.table import NOTHING, Table
from stablernn.utils.console import console
from stablernn.utils.escaping import csv_cell, markdown_cell, markdown_text, visible

_UNLIMITED = 10_000  # columns of a terminal


def markdown(table: Table) -> str:
    """With title, notes and remarks."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(map(markdown_cell, cells)) + " |\n"

    rule = ["---" if column.kind == "text" else "---:" for column in table.columns]
    body = line(table.heads) + line(rule) + "".join(map(line, table.lines))
    remarks = "".join(f"- {markdown_text(remark)}\n" for remark in table.remarks)
    notes = f"\n{markdown_text('; '.join(table.notes))}.\n" if table.notes else ""
    return f"**{markdown_text(table.full_title)}**\n\n{body}{notes}" + (f"\n{remarks}" if remarks else "")


def comma_separated(table: Table) -> str:
    """One number a cell: deviations, seeds and diverged runs have columns of their own, nothing is an empty cell.

    The last columns name the runs: ``runs`` all of a row, ``<columns>: runs`` where columns rest on some of them.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [*_columns(table), *_run_columns(table)]
    writer.writerow([csv_cell(name) for name, _ in columns])
    writer.writerows(map(csv_cell, cells) for cells in zip(*(cells for _, cells in columns), strict=True))
    return out.getvalue()


def _columns(table: Table) -> Iterator[tuple[str, list[str]]]:
    for column, values in zip(table.columns, zip(*table.values, strict=True), strict=True):
        written = [value.parts(column) for value in values]
        for kind in ("value", "spread", "seeds", "diverged", "of"):
            if kind == "value" or any(kind in parts for parts in written):
                name = column.spread if kind == "spread" else kind
                cells = [_plain(parts.get(kind, ""), value.value) for parts, value in zip(written, values, strict=True)]
                yield column.full_name if kind == "value" else f"{column.full_name}: {name}", cells


def _plain(cell: str, value: object) -> str:
    """Without thousands separators in a number; empty for nothing."""
    return "" if cell == NOTHING else cell if isinstance(value, str) else cell.replace(",", "")


def _run_columns(table: Table) -> Iterator[tuple[str, list[str]]]:
    if not table.runs:
        return
    behind = [[value.runs or () for value in row] for row in table.values]
    every = [list(dict.fromkeys(run for runs in row for run in runs)) for row in behind]
    named: dict[tuple[str, ...], list[str]] = {}
    for column, runs in zip(table.columns, zip(*behind, strict=True), strict=True):
        if any(runs) and any(set(some) != set(all_) for some, all_ in zip(runs, every, strict=True)):
            named.setdefault(tuple(map(" ".join, runs)), []).append(column.full_name)
    for runs, names in named.items():
        yield f"{', '.join(names)}: runs", list(runs)
    yield "runs", [" ".join(runs) for runs in every]


def rich_table(table: Table) -> RichTable:
    """A table for the terminal; one too narrow for all of it drops columns, and then breaks lines."""

    def fits(narrower: Table) -> bool:
        options = console.options.update(max_width=_UNLIMITED)
        return _rich(narrower).__rich_measure__(console, options).maximum <= console.width

    narrowed = table.narrowed(fits)
    out = _rich(narrowed)
    if not fits(narrowed):
        out.padding = (0, 0)
        for column in out.columns:
            column.no_wrap = False
    return out


def _rich(table: Table) -> RichTable:
    out = RichTable(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=Text(visible(table.full_title.replace("`", ""))),
        caption=Text("\n".join(map(visible, [*table.notes, *table.remarks]))),
        title_justify="left",
        caption_justify="left",
    )
    for column in table.columns:
        justify = "left" if column.kind == "text" else "right"
        out.add_column(Text(visible(column.head)), justify=justify, no_wrap=True)
    for line in table.lines:
        out.add_row(*(Text(visible(cell)) for cell in line))
    return out
