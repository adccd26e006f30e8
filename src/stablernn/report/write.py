"""The whole report: records in, tables and figures out."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable

from stablernn.console import console
from stablernn.errors import RecordError
from stablernn.files import write_text
from stablernn.record import Record
from stablernn.report.figures import draw_all
from stablernn.report.load import sections
from stablernn.report.tables import Table, comma_separated, latex, markdown, table

_BEGIN, _END = "<!-- perplexity table: written by make report -->", "<!-- end of the perplexity table -->"


def write_report(records: Sequence[Record], results: Path, readme: Path | None) -> list[Path]:
    """Write tables and figures below ``results`` and renew the README's table; returns the files.

    Raises:
        RecordError: there are no records.
    """
    parts = list(sections(records))
    if not parts:
        raise RecordError(
            f"no run records below {results / 'records'}: run `make reproduce` first, or name a folder with records=..."
        )
    tables = results / "tables"
    text = "\n".join(markdown(table(part)) for part in parts)
    written = {
        tables / "perplexity.md": text,
        tables / "perplexity.tex": "\n".join(latex(table(part)) for part in parts),
        tables / "perplexity.csv": comma_separated(parts),
    }
    for path, content in written.items():
        write_text(path, content)
    figures = [path for part in parts for path in draw_all(part, results / "figures")]
    if readme is not None and readme.is_file():
        _renew(readme, text)
    return [*written, *figures]


def _renew(readme: Path, tables: str) -> None:
    before, begin, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        write_text(readme, f"{before}{begin}\n{tables}{end}{after}")


def print_tables(records: Sequence[Record]) -> None:
    """The tables in the terminal."""
    for part in sections(records):
        console.print(_rich(table(part)))


def _rich(shown: Table) -> RichTable:
    out = RichTable(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=shown.title.replace("`", ""),
        caption="; ".join(shown.notes),
        title_justify="left",
        caption_justify="left",
    )
    for index, head in enumerate(shown.heads):
        out.add_column(head, justify="left" if index < 2 else "right", no_wrap=index < 3)
    for line in shown.lines:
        out.add_row(*line)
    return out
