"""The whole report: records in, tables, figures and the page out."""

import os
import shlex
from collections.abc import Collection
from pathlib import Path

from stablernn.report.atlas_pages import page_figures, page_texts
from stablernn.report.contents import SECTIONS, chapters, verdicts
from stablernn.report.drawing import PAGE, export, page, svg
from stablernn.report.evidence import Evidence, gather
from stablernn.report.formats import comma_separated, markdown, rich_table
from stablernn.report.judgement import Claim
from stablernn.report.latex import latex
from stablernn.report.load import load_linear_systems
from stablernn.report.prose import fill_in
from stablernn.report.section import Block, Chapter, chapter
from stablernn.report.sections.linear_systems import SECTION as LINEAR
from stablernn.report.sections.linear_systems import linear_tables
from stablernn.report.sections.perplexity import perplexity_table
from stablernn.report.sections.study import study_table
from stablernn.report.slices import leading
from stablernn.utils.console import console
from stablernn.utils.errors import ConfigurationError, RecordError
from stablernn.utils.escaping import markdown_text
from stablernn.utils.files import write_text

_BEGIN, _END = "<!-- answer: written by make report -->", "<!-- end of the answer -->"


def write_report(source: Path, results: Path, readme: Path | None) -> list[Path]:
    """Write tables, figures and page below ``results`` and renew the README's answer; returns the files, the page last.

    Templates in ``results/text/`` become files of their name in ``results``, but ``README.md``, which follows the
    README's table.

    Args:
        source: every record below it is read, and the analyses beside it.
        results: the folder of ``tables/``, ``figures/`` and ``report/``, and of the measurements in ``bench/``.
        readme: its table is renewed, and the texts are; None: there is none.

    Raises:
        RecordError: there are no records, or a text says what the tables do not.
        ConfigurationError: ``readme`` has no place for the answer; nothing is written.
        MissingPackageError: what draws is not installed; the tables are written.
    """
    evidence = gather(source, results)
    if not (evidence.slices or evidence.tasks or evidence.synthetic or evidence.atlas or evidence.linear):
        raise RecordError(
            f"no run records below {source}: run `make reproduce` first, or name a folder with records=..."
        )
    if readme is not None:
        around_answer(readme)
    made = chapters(evidence)
    tables = [_write_tables(chapter, results) for chapter in made]
    if readme is not None:
        shown = [study_table(evidence.tasks)] if evidence.tasks else map(perplexity_table, leading(evidence.study))
        texts = {path.name: fill_in(path, results / "tables") for path in sorted((results / "text").glob("*.md"))}
        _renew(readme, "\n".join([*map(markdown, shown), texts.pop("README.md", "")]))
        for name, text in texts.items():
            write_text(results / name, text)
    docs = (results / os.pardir / "docs").is_dir()
    atlas = {results / "atlas" / name: text for name, text in page_texts(evidence, docs).items()}
    for path, text in atlas.items():
        write_text(path, text)
    figures = [_draw(chapter, results) for chapter in made]
    for name, figure in page_figures(evidence).items():
        write_text(results / "atlas" / name, svg(figure))
    written = [*atlas, *(path for both in zip(tables, figures, strict=True) for paths in both for path in paths)]
    write_text(results / "report" / PAGE, page(evidence, made))
    return [*written, results / "report" / PAGE]


def write_linear_systems(folder: Path, results: Path) -> list[Path]:
    """Tables and figures of the linear systems in a folder alone; returns the files, raises MissingPackageError."""
    made = chapter(LINEAR, Evidence([], [], [], [], {}, load_linear_systems(folder)))
    return [*_write_tables(made, results), *_draw(made, results)]


def _write_tables(chapter: Chapter, results: Path) -> list[Path]:
    tables = [table for block in chapter.blocks for table in block.tables]
    texts = {f"{table.stem}.csv": comma_separated(table) for table in tables}
    texts |= {f"{table.stem}.tex": latex(table) for table in tables}
    if chapter.section.document and tables:
        blocks = [block for block in chapter.blocks if block.tables]
        texts[f"{chapter.section.document}.md"] = "\n".join(map(markdown_of, blocks))
    for name, text in texts.items():
        write_text(results / "tables" / name, text)
    return [results / "tables" / name for name in texts]


def markdown_of(block: Block) -> str:
    """The tables of a block, below its heading and introduction where it has one."""
    bullet = "- " * (len(block.introduction) > 1)
    lines = [f"## {markdown_text(block.title)}\n", *(f"{bullet}{markdown_text(each)}" for each in block.introduction)]
    heading = ["\n".join(lines) + "\n"] if block.introduction else []
    return "\n".join([*heading, *map(markdown, block.tables)])


def _draw(chapter: Chapter, results: Path) -> list[Path]:
    figures = [figure for block in chapter.blocks for figure in block.figures]
    return [path for figure in figures for path in export(figure, results / "figures")]


def _renew(readme: Path, answer: str) -> None:
    before, after = around_answer(readme)
    write_text(readme, f"{before}\n{answer.rstrip()}\n{after}")


def around_answer(readme: Path) -> tuple[str, str]:
    """What stands before a README's answer and behind it, each with its mark.

    Raises:
        ConfigurationError: there is no such file, or it lacks a mark.
    """
    none = "or choose readme=null to leave every file alone"
    if not readme.is_file():
        raise ConfigurationError(f"readme={readme} does not exist: name the file whose answer is to be renewed, {none}")
    try:
        text = readme.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # then it is no text at all
        text = ""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ConfigurationError(f"readme={readme} has no place for the answer: add {_BEGIN} and {_END}, {none}")
    return before + begin, end + after


def print_report(source: Path, study: str = "perplexity") -> None:
    """The tables of a study's records below ``source`` in the terminal."""
    evidence = gather(source, source)
    for section in SECTIONS:
        for block in section.blocks(evidence) if study in section.studies else []:
            for table in block.tables:
                console.print(rich_table(table))


def print_conclusions(
    source: Path, results: Path, studies: Collection[str], runs: str = "runs", profile: str = ""
) -> None:
    """What the records below ``source`` say of the questions that some studies ask, in the terminal.

    A line for each claim; of studies with questions of their own the answers to these. What would tell of a claim that
    has no evidence is a command with these folders and this profile.
    """
    evidence = gather(source, results)
    own = [section for section in SECTIONS if section.answers and not set(studies).isdisjoint(section.studies)]
    for section in own:
        assert section.answers is not None
        console.print(section.title, style="bold")
        for line in section.answers(evidence) or ["No question of it can be answered yet."]:
            console.print(f"  {line}", soft_wrap=True)
    if set(studies).issubset(name for section in own for name in section.studies):
        return
    console.print("Verdicts", style="bold")
    for claim, judgements in verdicts(evidence):
        labels = "; ".join(f"{judgement.label} ({judgement.subject})" for judgement in judgements)
        said = labels or f"not measured yet: {_here(claim, runs, results, profile)}"
        console.print(f"  {claim.name} {claim.question} {said}", soft_wrap=True)


def _here(claim: Claim, runs: str, results: Path, profile: str) -> str:
    """The remedy with the options that it takes, where they are not the defaults."""
    name, _, _ = claim.arguments.partition(" ")
    given = {"runs": runs} if runs != "runs" else {}
    if name in ("reproduce", "bench", "linear_systems") and results != Path(runs) / "report":
        given["results"] = str(results)
    if name == "reproduce" and profile:
        given["profile"] = profile
    return " ".join([claim.remedy, *(shlex.quote(f"{option}={value}") for option, value in given.items())])


def print_linear_systems(folder: Path) -> None:
    """The tables of the linear systems in a folder in the terminal."""
    for table in linear_tables(load_linear_systems(folder)):
        console.print(rich_table(table))
