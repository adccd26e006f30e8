"""The whole report: records in, tables, figures and the page out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable

from stablernn.console import console
from stablernn.errors import RecordError
from stablernn.files import write_text
from stablernn.record import Record
from stablernn.report.certificate import certificate_table
from stablernn.report.contraction import contraction_table
from stablernn.report.evidence import gather
from stablernn.report.figures import draw_perplexity, draw_stability
from stablernn.report.gradient_horizon import draw_gradient_horizon, gradient_horizon_table
from stablernn.report.linear_systems import NAME as LINEAR_SYSTEMS
from stablernn.report.linear_systems import linear_tables, load_linear_systems, write_linear_systems
from stablernn.report.load import Section, load_analyses, load_records, sections
from stablernn.report.ngram import draw_ngram, ngram_table
from stablernn.report.page import PAGE, page
from stablernn.report.price import price_table
from stablernn.report.sweep import sweep_table
from stablernn.report.tables import Table, comma_separated, latex, markdown, rows, table
from stablernn.report.truncation import truncation_summary
from stablernn.report.truncation_figures import draw_sweep, draw_truncation, draw_weight_distance
from stablernn.report.weight_distance import weight_distance_table

_UNLIMITED = 10_000  # columns of a terminal
# Table and analysis of the studies that are one of each.
_DIAGNOSTICS: dict[str, tuple[Callable[..., Table], str]] = {
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
        readme: its table is renewed.

    Raises:
        RecordError: there are no records.
    """
    evidence = gather(source, results)
    parts, of_the_study, swept = evidence.parts, evidence.study, evidence.swept
    if not parts and not evidence.linear:
        raise RecordError(
            f"no run records below {source}: run `make reproduce` first, or name a folder with records=..."
        )
    contractions, distances, truncated, certificates, horizons = (
        evidence.analyses(name)
        for name in ("contraction", "weight_distance", "truncation", "certificate", "gradient_horizon")
    )
    perplexity = [table(part) for part in of_the_study]
    shown = {
        "perplexity": perplexity,
        "price_of_stability": [made for part in parts if (made := price_table(part, certificates)) is not None],
        "certificates": _analysis_tables(certificate_table, parts, certificates),
        "contraction": _analysis_tables(contraction_table, parts, contractions),
        "gradient_horizon": _analysis_tables(gradient_horizon_table, parts, horizons),
        "truncation": _analysis_tables(truncation_summary, parts, truncated),
        "ngram": _analysis_tables(ngram_table, parts, truncated),
        "truncation_sweep": [made for part in swept if (made := sweep_table(part)) is not None],
        "weight_distance": _analysis_tables(weight_distance_table, parts, distances),
    }
    written = {
        results / "tables" / f"{name}.{kind}": "\n".join(write(table) for table in found)
        for name, found in shown.items()
        for kind, write in (("md", markdown), ("tex", latex))
        if found
    }
    if perplexity:
        written[results / "tables" / "perplexity.csv"] = comma_separated(of_the_study)
    for path, content in written.items():
        write_text(path, content)
    figures = [path for part in of_the_study for path in draw_perplexity(part, results / "figures")]
    for part in parts:
        figures += draw_stability(part, contractions, results / "figures")
        if here := _of(part, truncated):
            figures += draw_truncation(here, results / "figures" / f"truncation_{part.name}", part.caption)
            figures += draw_ngram(here, results / "figures" / f"ngram_{part.name}", part.caption)
        if here := _of(part, horizons):
            stem = results / "figures" / f"gradient_horizon_{part.name}"
            figures += draw_gradient_horizon(here, stem, part.caption)
        if here := _of(part, distances):
            figures += draw_weight_distance(part, here, results / "figures")
    figures += [path for part in swept for path in draw_sweep(part, results / "figures")]
    figures += write_linear_systems(source / LINEAR_SYSTEMS, results)
    if perplexity and readme is not None and readme.is_file():
        _renew(readme, "\n".join(markdown(found) for found in perplexity))
    write_text(results / "report" / PAGE, page(evidence))
    return [*written, *figures, results / "report" / PAGE]


def _analysis_tables(
    make: Callable[..., Table], parts: Sequence[Section], found: Sequence[tuple[Record, dict]]
) -> list[Table]:
    """One table a section, in the order of its records; the section stands in the title."""
    tables = []
    for part in parts:
        if here := _of(part, found):
            made = make(here)
            tables.append(replace(made, title=f"{made.title}: {part.caption}"))
    return tables


def _of(part: Section, found: Sequence[tuple[Record, dict]]) -> list[tuple[Record, dict]]:
    """The results of a section's runs."""
    ids = {record.id for record in part.records}
    return [(record, result) for record, result in found if record.id in ids]


def _renew(readme: Path, tables: str) -> None:
    before, begin, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        write_text(readme, f"{before}{begin}\n{tables}{end}{after}")


def print_report(source: Path, study: str = "perplexity") -> None:
    """The tables of a study's records below ``source`` in the terminal."""
    for part in sections(load_records(source)):
        if study in _DIAGNOSTICS:
            make, name = _DIAGNOSTICS[study]
            tables = _analysis_tables(make, [part], load_analyses(source, name))
        else:
            tables = [
                table(part) if study == "perplexity" and rows(part) else None,
                price_table(part, load_analyses(source, "certificate")),
                sweep_table(part) if study == "truncation_sweep" else None,
                *_analysis_tables(truncation_summary, [part], load_analyses(source, "truncation")),
                *_analysis_tables(weight_distance_table, [part], load_analyses(source, "weight_distance")),
            ]
        for shown in filter(None, tables):
            console.print(rich_table(shown))


def print_linear_systems(folder: Path) -> None:
    """The tables of the linear systems in a folder in the terminal."""
    for shown in linear_tables(load_linear_systems(folder)):
        console.print(rich_table(shown))


def rich_table(shown: Table) -> RichTable:
    """A table for the terminal; where that is too narrow, lines break rather than lose their ends."""
    out = RichTable(
        box=SIMPLE_HEAD,
        pad_edge=False,
        title=shown.title.replace("`", ""),
        caption="\n".join([*shown.notes, *shown.remarks]),
        title_justify="left",
        caption_justify="left",
    )
    for index, head in enumerate(shown.heads):
        out.add_column(head, justify="left" if index < 2 else "right", no_wrap=True)
    for line in shown.lines:
        out.add_row(*line)
    if out.__rich_measure__(console, console.options.update(max_width=_UNLIMITED)).maximum > console.width:
        out.padding = (0, 0)
        for column in out.columns:
            column.no_wrap = False
    return out
