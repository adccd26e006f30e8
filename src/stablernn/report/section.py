"""A section of the report: what is looked at, and its blocks, each with figures and tables of one text or machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stablernn.report.evidence import Evidence
from stablernn.report.figure import Figure
from stablernn.report.load import Analyses
from stablernn.report.slices import Slice
from stablernn.report.table import Table


@dataclass(frozen=True)
class Block:
    """What stands under one heading: figures and tables of one text, profile or machine; and sentences before them.

    ``minor``: of a profile that only shows that all of it works, or of a part of a text; the page links its files.
    """

    title: str
    figures: list[Figure]
    tables: list[Table]
    introduction: Sequence[str] = ()
    minor: bool = False


@dataclass(frozen=True)
class Section:
    """One subject.

    Attributes:
        anchor: on the page.
        about: what is looked at, in a sentence.
        blocks: made of the evidence, in order.
        document: the Markdown file of the tables, without its ending, and the name of tables that have none.
        claims: that it is evidence for, by name.
        studies: in whose report in the terminal its tables stand.
        answers: to the questions of these studies, a sentence each; None: they ask about the claims.
    """

    anchor: str
    title: str
    about: str
    blocks: Callable[[Evidence], list[Block]]
    document: str = ""
    claims: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    answers: Callable[[Evidence], list[str]] | None = None


@dataclass(frozen=True)
class Chapter:
    """A section with its blocks, none of them empty."""

    section: Section
    blocks: list[Block]


def chapter(section: Section, evidence: Evidence) -> Chapter:
    blocks = [
        replace(block, tables=[replace(table, name=table.name or section.document) for table in block.tables])
        for block in section.blocks(evidence)
        if block.figures or block.tables
    ]
    return Chapter(section, blocks)


def block(title: str, place: str, figures: Sequence[Figure | None], tables: Sequence[Table | None]) -> Block:
    """With text and profile, or machine, in the names of the files and beside titles."""
    return Block(
        title,
        [replace(figure, place=place, where=title) for figure in figures if figure],
        [replace(table, place=place, where=title) for table in tables if table],
    )


def of_slice(data: Slice, figures: Sequence[Figure | None], table: Table | None) -> Block:
    return replace(block(data.caption, data.name, figures, [table]), minor=minor(data))


def minor(data: Slice) -> bool:
    return data.profile in ("smoke", "quick") or not data.whole


def of_analysis(
    name: str,
    table: Callable[[Analyses], Table],
    figures: Callable[[Analyses], Sequence[Figure | None]] = lambda _: [],
) -> Callable[[Evidence], list[Block]]:
    """``Section.blocks``: a block for each slice in which some runs were analysed."""

    def blocks(evidence: Evidence) -> list[Block]:
        analysed = ((data, evidence.of(data, name)) for data in evidence.analysed)
        return [of_slice(data, figures(here), table(here)) for data, here in analysed if here]

    return blocks
