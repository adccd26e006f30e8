"""Tables as Markdown, as comma-separated values and for the terminal."""

import csv
import io
from collections.abc import Iterator
from itertools import takewhile

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
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


def rich_table(table: Table, drop: bool = True) -> RenderableType:
    """A table for the terminal; one too narrow for it drops columns, breaks lines, then puts columns below others.

    No word is cut.

    Args:
        table: all of it.
        drop: whether columns may be dropped, as they are in a file.
    """

    def fits(narrower: Table) -> bool:
        options = console.options.update(max_width=_UNLIMITED)
        return _rich(narrower).__rich_measure__(console, options).maximum <= console.width

    narrowed = table.narrowed(fits) if drop else table
    if fits(narrowed):
        return _rich(narrowed)
    parts = _parts(narrowed, console.width)
    first, last = 0, len(parts) - 1
    shown = [_broken(part, console.width, at == first, at == last) for at, part in enumerate(parts)]
    return shown[0] if first == last else Group(*shown)


def _rich(table: Table, title: bool = True, notes: bool = True) -> RichTable:
    caption = [*table.notes, *table.remarks] if notes else []
    out = RichTable(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=Text(visible(table.full_title.replace("`", ""))) if title else None,
        caption=Text("\n".join(map(visible, caption))) if caption else None,
        title_justify="left",
        caption_justify="left",
    )
    for column in table.columns:
        justify = "left" if column.kind == "text" else "right"
        out.add_column(Text(visible(column.head)), justify=justify, no_wrap=True)
    for line in table.lines:
        out.add_row(*(Text(visible(cell)) for cell in line))
    return out


def _broken(table: Table, width: int, title: bool, notes: bool) -> RichTable:
    """With lines broken between words, the widest columns first."""
    least, widths = _widths(table)
    while sum(widths) + len(widths) + 1 > width and widths != least:
        at = max((at for at in range(len(widths)) if widths[at] > least[at]), key=widths.__getitem__)
        widths[at] -= 1
    out = _rich(table, title, notes)
    out.padding = (0, 0)
    for column, wide in zip(out.columns, widths, strict=True):
        column.no_wrap, column.width = False, wide
    return out


def _widths(table: Table) -> tuple[list[int], list[int]]:
    """Of each column: of its longest word, and of its longest cell."""
    columns = [[visible(cell) for cell in cells] for cells in zip(table.heads, *table.lines, strict=True)]
    words = [max((cell_len(word) for cell in cells for word in cell.split()), default=1) for cells in columns]
    return words, [max(1, *map(cell_len, cells)) for cells in columns]


def _parts(table: Table, width: int) -> list[Table]:
    """As few as there is room for, of about the same width."""
    parts = list(_side_by_side(table, width))
    while len(parts) > 1 and len(narrower := list(_side_by_side(table, width - 1))) == len(parts):
        parts, width = narrower, width - 1
    return parts


def _side_by_side(table: Table, width: int) -> Iterator[Table]:
    """The table in parts that are no wider, each with the columns that say what a line is about."""
    least, _ = _widths(table)
    labels = list(takewhile(lambda at: table.columns[at].kind != "number", range(len(least))))
    shown = list(labels)
    for at in range(len(labels), len(least)):
        if len(shown) > len(labels) and sum(least[one] + 1 for one in (*shown, at)) + 1 > width:
            yield table.only(shown)
            shown = list(labels)
        shown.append(at)
    yield table.only(shown)
