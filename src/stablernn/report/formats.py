"""Tables as Markdown and as comma-separated values."""

import csv
import io
import re
from collections.abc import Iterator

from stablernn.report.tables import Table
from stablernn.utils.escaping import csv_cell, markdown_cell, markdown_text

_CELL = re.compile(
    r"(?P<value>[^\s±,][^\s±]*)"
    r"(?: ± (?P<deviation>\S+))?(?: \((?P<seeds>\d+)\))?(?:, (?P<diverged>\d+) of \d+ diverged)?(?: of (?P<of>\d+))?"
)


def markdown(shown: Table) -> str:
    """With title, notes and remarks."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(map(markdown_cell, cells)) + " |\n"

    aligned = ["---" if index < shown.texts else "---:" for index in range(len(shown.heads))]
    body = line(shown.heads) + line(aligned) + "".join(line(cells) for cells in shown.lines)
    remarks = "".join(f"- {markdown_text(remark)}\n" for remark in shown.remarks)
    notes = f"\n{markdown_text('; '.join(shown.notes))}.\n" if shown.notes else ""
    return f"**{markdown_text(shown.full_title)}**\n\n{body}{notes}" + (f"\n{remarks}" if remarks else "")


def comma_separated(shown: Table) -> str:
    """One number a cell: deviations, seeds and diverged runs get columns of their own, a dash is an empty cell.

    The last columns name the runs: ``runs`` all of a line, ``<columns>: runs`` where columns rest on some of them.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [*_columns(shown), *_run_columns(shown)]
    writer.writerow([csv_cell(name) for name, _ in columns])
    writer.writerows(map(csv_cell, cells) for cells in zip(*(cells for _, cells in columns), strict=True))
    return out.getvalue()


def _columns(shown: Table) -> Iterator[tuple[str, list[str]]]:
    for column, name in enumerate(shown.names):
        cells = [line[column] for line in shown.lines]
        parsed = [_CELL.fullmatch(cell) for cell in cells]
        told = {part for cell in parsed if cell for part, text in cell.groupdict().items() if text is not None}
        if column < shown.texts or told <= {"value"}:
            yield name, [_plain(cell) for cell in cells]
            continue
        for part in ("value", "deviation", "seeds", "diverged", "of"):
            if part in told:
                values = [
                    cell[part] or "" if cell else text * (part == "value")
                    for cell, text in zip(parsed, cells, strict=True)
                ]
                told_as = shown.interval if part == "deviation" and column in shown.intervals else part
                yield name if part == "value" else f"{name}: {told_as}", [_plain(value) for value in values]


def _plain(cell: str) -> str:
    """Without thousands separators; empty for a dash."""
    return "" if cell == "–" else re.sub(r"(?<=\d),(?=\d{3}\b)", "", cell)


def _run_columns(shown: Table) -> Iterator[tuple[str, list[str]]]:
    if not shown.runs:
        return
    every = [list(dict.fromkeys(name for runs in behind.values() for name in runs)) for behind in shown.runs]
    named: dict[tuple[str, ...], list[str]] = {}
    for column, name in enumerate(shown.names):
        here = [behind.get(column, ()) for behind in shown.runs]
        if any(here) and any(set(some) != set(all_) for some, all_ in zip(here, every, strict=True)):
            named.setdefault(tuple(map(" ".join, here)), []).append(name)
    for runs, names in named.items():
        yield f"{', '.join(names)}: runs", list(runs)
    yield "runs", [" ".join(runs) for runs in every]
