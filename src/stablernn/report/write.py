"""The whole report: records in, tables, figures and the page out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from stablernn.report.chapters import Chapter, chapters, linear_chapter
from stablernn.report.drawing import PAGE, export, page
from stablernn.report.evidence import gather, texts_of
from stablernn.report.formats import comma_separated, markdown
from stablernn.report.latex import latex
from stablernn.report.load import Found, Section, load_analyses, load_records, sections
from stablernn.report.sections.contraction import contraction_table
from stablernn.report.sections.gradient_horizon import gradient_horizon_table
from stablernn.report.sections.linear_systems import linear_tables, load_linear_systems
from stablernn.report.sections.ngram import ngram_table
from stablernn.report.sections.perplexity import abridged, introduction, leading, table
from stablernn.report.sections.price import price_table
from stablernn.report.sections.search import winners_table
from stablernn.report.sections.sweep import sweep_table
from stablernn.report.sections.tasks import tasks_table
from stablernn.report.sections.truncation import truncation_summary
from stablernn.report.sections.weight_distance import weight_distance_table
from stablernn.report.tables import Table
from stablernn.report.verdicts import verdicts
from stablernn.utils.console import console
from stablernn.utils.errors import ConfigurationError, RecordError
from stablernn.utils.escaping import markdown_text, visible
from stablernn.utils.files import write_text

_UNLIMITED = 10_000  # columns of a terminal
# Table and analysis of the studies that are one of each.
_DIAGNOSTICS: dict[str, tuple[Callable[[Found], Table], str]] = {
    "contraction": (contraction_table, "contraction"),
    "gradient_horizon": (gradient_horizon_table, "gradient_horizon"),
    "truncation": (truncation_summary, "truncation"),
    "ngram": (ngram_table, "truncation"),
}
_BEGIN, _END = "<!-- perplexity table: written by make report -->", "<!-- end of the perplexity table -->"


def write_report(source: Path, results: Path, readme: Path | None) -> list[Path]:
    """Write tables, figures and page below ``results`` and renew the README's table; returns the files, the page last.

    Args:
        source: every record below it is read, and the analyses beside it.
        results: the folder of ``tables/``, ``figures/`` and ``report/``, and of the measurements in ``bench/``.
        readme: its table is renewed; None: there is none.

    Raises:
        RecordError: there are no records.
        ConfigurationError: ``readme`` has no place for the table; nothing is written.
        MissingPackageError: what draws is not installed; the tables are written.
    """
    evidence = gather(source, results)
    if not (evidence.parts or evidence.tasks or evidence.linear):
        raise RecordError(
            f"no run records below {source}: run `make reproduce` first, or name a folder with records=..."
        )
    if readme is not None:
        around_table(readme)
    made = chapters(evidence)
    tables = [_write_tables(chapter, results) for chapter in made]
    if evidence.study and readme is not None:
        first, *others = leading(evidence.study)
        shown = [table(first), *(table(abridged(part)) for part in others)]
        told = [markdown(_without(one, shown[:at])) for at, one in enumerate(shown)]
        tasks = [markdown(tasks_table(evidence.tasks))] if evidence.tasks else []
        _renew(readme, "\n".join([*tasks, f"{markdown_text(introduction(first))}\n", *told]))
    figures = [_draw(chapter, results) for chapter in made]
    written = [path for both in zip(tables, figures, strict=True) for paths in both for path in paths]
    write_text(results / "report" / PAGE, page(evidence, made))
    return [*written, results / "report" / PAGE]


def write_linear_systems(folder: Path, results: Path) -> list[Path]:
    """Tables and figures of the linear systems in a folder alone; returns the files."""
    return write_chapter(linear_chapter(load_linear_systems(folder)), results)


def write_chapter(chapter: Chapter, results: Path) -> list[Path]:
    """Every table for reading and for print, every figure for print; returns the files, raises MissingPackageError."""
    return [*_write_tables(chapter, results), *_draw(chapter, results)]


def _write_tables(chapter: Chapter, results: Path) -> list[Path]:
    tables = [shown for block in chapter.blocks for shown in block.tables]
    texts = {f"{shown.stem}.csv": comma_separated(shown) for shown in tables}
    texts |= {f"{shown.stem}.tex": latex(shown) for shown in tables}
    if chapter.document and tables:
        texts[f"{chapter.document}.md"] = "\n".join(map(markdown, tables))
    for name, text in texts.items():
        write_text(results / "tables" / name, text)
    return [results / "tables" / name for name in texts]


def _draw(chapter: Chapter, results: Path) -> list[Path]:
    figures = [figure for block in chapter.blocks for figure in block.figures]
    return [path for figure in figures for path in export(figure, results / "figures")]


def _without(shown: Table, above: Sequence[Table]) -> Table:
    """The table without the notes that stand above it already."""
    known = {note for other in above for note in other.notes}
    return replace(shown, notes=[note for note in shown.notes if note not in known])


def _renew(readme: Path, tables: str) -> None:
    before, after = around_table(readme)
    write_text(readme, f"{before}\n{tables}{after}")


def around_table(readme: Path) -> tuple[str, str]:
    """What stands before a README's table and behind it, each with its mark.

    Raises:
        ConfigurationError: there is no such file, or it lacks a mark.
    """
    none = "or choose readme=null to leave every file alone"
    if not readme.is_file():
        raise ConfigurationError(f"readme={readme} does not exist: name the file whose table is to be renewed, {none}")
    try:
        text = readme.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # then it is no text at all
        text = ""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ConfigurationError(f"readme={readme} has no place for the table: add {_BEGIN} and {_END}, {none}")
    return before + begin, end + after


def print_report(source: Path, study: str = "perplexity") -> None:
    """The tables of a study's records below ``source`` in the terminal."""
    own = {part.text: part for part in sections(texts_of(load_records(source, study)))}
    if tasks := gather(source, source).tasks:
        console.print(rich_table(tasks_table(tasks)))
    for part in sections(texts_of(load_records(source))):
        whole = own.get(part.text)
        if study in _DIAGNOSTICS:
            make, name = _DIAGNOSTICS[study]
            tables = [_analysed(make, part, load_analyses(source, name))]
        else:
            tables = [
                table(whole) if study == "perplexity" and whole else None,
                winners_table(whole) if study == "table1" and whole else None,
                price_table(part, load_analyses(source, "certificate")),
                sweep_table(part) if study == "truncation_sweep" else None,
                _analysed(truncation_summary, part, load_analyses(source, "truncation")),
                _analysed(weight_distance_table, part, load_analyses(source, "weight_distance")),
            ]
        for shown in filter(None, tables):
            console.print(rich_table(shown))


def print_verdicts(source: Path, results: Path) -> None:
    """A line for each claim in the terminal: what the records below ``source`` say of it."""
    console.print("[bold]Verdicts[/]", highlight=False)
    for claim, judgements in verdicts(gather(source, results)):
        said = [f"{judgement.label} ({judgement.subject})" for judgement in judgements]
        line = Text(f"  {claim.name} {claim.question} ").append("; ".join(said) or f"not measured yet: {claim.remedy}")
        console.print(line, soft_wrap=True, highlight=False)


def _analysed(make: Callable[[Found], Table], part: Section, found: Found) -> Table | None:
    """The table of a section's runs, if there are any; the section stands in its title."""
    ids = {record.id for record in part.records}
    here = [entry for entry in found if entry[0].id in ids]
    return replace(make(here), where=part.caption) if here else None


def print_linear_systems(folder: Path) -> None:
    """The tables of the linear systems in a folder in the terminal."""
    for shown in linear_tables(load_linear_systems(folder)):
        console.print(rich_table(shown))


def rich_table(shown: Table) -> RichTable:
    """A table for the terminal; one too narrow for all of it gets no spare columns, and then lines that break."""
    for count in range(len(shown.spare) + 1):
        out = _laid_out(shown.without(count))
        if out.__rich_measure__(console, console.options.update(max_width=_UNLIMITED)).maximum <= console.width:
            return out
    out.padding = (0, 0)
    for column in out.columns:
        column.no_wrap = False
    return out


def _laid_out(shown: Table) -> RichTable:
    out = RichTable(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=Text(visible(shown.full_title.replace("`", ""))),
        caption=Text("\n".join(map(visible, [*shown.notes, *shown.remarks]))),
        title_justify="left",
        caption_justify="left",
    )
    for index, head in enumerate(shown.heads):
        out.add_column(Text(visible(head)), justify="left" if index < shown.texts else "right", no_wrap=True)
    for line in shown.lines:
        out.add_row(*(Text(visible(cell)) for cell in line))
    return out
