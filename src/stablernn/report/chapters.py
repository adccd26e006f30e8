"""What the report shows, in order: figures and tables by subject, and within it by text, profile or machine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.figure import Figure
from stablernn.report.figures.linear import linear_figures
from stablernn.report.figures.memory import contraction_curves, gradient_figures
from stablernn.report.figures.perplexity import learning_curves, perplexity_by_k
from stablernn.report.figures.price import price_curves
from stablernn.report.figures.speed import speed_curves
from stablernn.report.figures.training import distance_curves, sweep_curves
from stablernn.report.figures.truncation import ngram_figures, truncation_figures
from stablernn.report.load import Found, Section
from stablernn.report.sections.certificate import certificate_table
from stablernn.report.sections.contraction import contraction_table
from stablernn.report.sections.gradient_horizon import gradient_horizon_table
from stablernn.report.sections.linear_systems import NAME as LINEAR_SYSTEMS
from stablernn.report.sections.linear_systems import Results, linear_tables
from stablernn.report.sections.ngram import ngram_table
from stablernn.report.sections.perplexity import introduction, leading, table
from stablernn.report.sections.price import price_table
from stablernn.report.sections.recurrence import recurrence_table
from stablernn.report.sections.search import search_table, winners_table
from stablernn.report.sections.sequences import curve_table, memory_table, sequence_table
from stablernn.report.sections.sweep import sweep_table
from stablernn.report.sections.tasks import tasks_table
from stablernn.report.sections.truncation import truncation_summary
from stablernn.report.sections.weight_distance import weight_distance_table
from stablernn.report.tables import Table

_OF_SPEED = {"speed": sequence_table, "training_memory": memory_table, "speed_of_all_k": curve_table}


@dataclass(frozen=True)
class Block:
    """What stands under one heading: figures and tables of one text, profile or machine; and a word before them."""

    title: str
    figures: list[Figure]
    tables: list[Table]
    introduction: str = ""


@dataclass(frozen=True)
class Chapter:
    """Blocks of one subject.

    Attributes:
        document: the Markdown file of their tables, without its ending, empty for none.
        about: what is looked at, in a sentence.
        claims: that it is evidence for, as verdicts count them.
    """

    anchor: str
    title: str
    document: str
    blocks: list[Block]
    about: str = ""
    claims: tuple[str, ...] = ()


def chapters(evidence: Evidence) -> list[Chapter]:
    """Every subject of which there is a figure or a table."""
    certificates = evidence.analyses("certificate")

    def analysed(name: str, draw: Callable[[Found], Sequence[Figure | None]], tell: Callable[[Found], Table]):
        """A block for each section in which some runs were analysed."""
        found = ((part, evidence.of(part, name)) for part in evidence.parts)
        return [_of_section(part, draw(here), tell(here)) for part, here in found if here]

    first = next(iter(leading(evidence.study)), None)
    study = [_of_section(part, [perplexity_by_k(part), learning_curves(part)], table(part)) for part in evidence.study]
    prices = [_of_section(part, [price_curves(part)], price_table(part, certificates)) for part in evidence.parts]
    if first is not None:
        study, prices = _led(evidence, first, study, prices)
    swept = [_of_section(part, [sweep_curves(part)], sweep_table(part)) for part in evidence.swept]
    searched = [_of_section(part, [], search_table(part)) for part in evidence.searched]
    winners = [_of_section(part, [], winners_table(part)) for part in evidence.winners]
    tasks = [Block("All tasks", [], [tasks_table(evidence.tasks)])] if evidence.tasks else []
    for part in evidence.tasks:
        truncated = [] if part.text in {text.text for text in evidence.parts} else evidence.of(part, "truncation")
        if truncated:
            shown = replace(truncation_summary(truncated), name="tasks_truncation")
            tasks.append(_of_section(part, truncation_figures(truncated), shown))
    made = [
        Chapter(
            "tasks",
            "The study’s tasks",
            "tasks",
            tasks,
            "Every task with every model, and what each constraint costs by the rule of decision.",
            ("C1",),
        ),
        Chapter(
            "perplexity",
            "Perplexity, unstable and stable",
            "perplexity",
            study,
            "The models of each text and profile, and what the constraint changes of their perplexity.",
            ("C1",),
        ),
        Chapter(
            "search",
            "Search of the hyperparameters",
            "search",
            searched,
            "Which settings were tried for the unstable models; the constrained models take over the winner’s.",
        ),
        Chapter(
            "table1",
            "With the hyperparameters of the search",
            "table1",
            winners,
            "The winners of the search, trained again under each constraint.",
            ("C1",),
        ),
        Chapter(
            "price",
            "What stability costs",
            "price_of_stability",
            prices,
            "Perplexity under each constraint, beside the rate of contraction that is proven under it.",
            ("C1",),
        ),
        Chapter(
            "recurrence",
            "Without the recurrent matrices",
            "recurrence",
            analysed("recurrence", lambda _: [], recurrence_table),
            "How much trained models lose when recurrent matrices are set to zero: what they do not lose, they made no "
            "use of.",
        ),
        Chapter(
            "truncation",
            "Truncated after training",
            "truncation",
            analysed("truncation", truncation_figures, truncation_summary),
            "Trained recurrent models that may see the last k words alone.",
            ("C2", "C4"),
        ),
        Chapter(
            "ngram",
            "As n-grams",
            "ngram",
            analysed("truncation", ngram_figures, ngram_table),
            "The same models as n-grams: with n − 1 words of context, or with a state that is forgotten every n words.",
            ("C2", "C4"),
        ),
        Chapter(
            "training",
            "Trained recurrent and feed-forward",
            "truncation_sweep",
            swept,
            "Recurrent and feed-forward models trained on the same batches at the same k.",
            ("C3",),
        ),
        Chapter(
            "weights",
            "Weights of different k",
            "weight_distance",
            analysed("weight_distance", lambda found: [distance_curves(found)], weight_distance_table),
            "How far the weights of feed-forward models of different k come apart while they are trained.",
            ("C3",),
        ),
        Chapter(
            "gradients",
            "Gradients",
            "gradient_horizon",
            analysed("gradient_horizon", gradient_figures, gradient_horizon_table),
            "How much the loss at a word depends on the words before it.",
            ("C5",),
        ),
        Chapter(
            "contraction",
            "Contraction on the data",
            "contraction",
            analysed("contraction", lambda found: [contraction_curves(found)], contraction_table),
            "Whether two states that read the same text approach each other, proven or not.",
            ("C6",),
        ),
        linear_chapter(evidence.linear),
        Chapter(
            "speed",
            "Speed",
            "",
            [_of_machine(*item) for item in evidence.lengths.items()],
            "Time and memory of feed-forward models, which do k times the work but all positions at once.",
            ("C8",),
        ),
        Chapter(
            "certificates",
            "Certificates",
            "certificates",
            analysed("certificate", lambda _: [], certificate_table),
            "What is proven of each trained model, beside what is measured.",
            ("C2",),
        ),
    ]
    return [kept for chapter in made if (kept := _filled(chapter)).blocks]


def _led(
    evidence: Evidence, first: Section, study: list[Block], prices: list[Block]
) -> tuple[list[Block], list[Block]]:
    """The block of ``first`` before all others, with what stability costs on the same text at the same profile."""
    at = next(n for n, part in enumerate(evidence.study) if part is first)
    told = study[at]
    for n, part in enumerate(evidence.parts):
        if part.text == first.text:
            told = replace(told, figures=told.figures + prices[n].figures)
            prices = [*prices[:n], replace(prices[n], figures=[]), *prices[n + 1 :]]
    return [replace(told, introduction=introduction(first)), *study[:at], *study[at + 1 :]], prices


def linear_chapter(found: Results) -> Chapter:
    """All that is drawn and told of linear systems."""
    block = Block("Below and above 1", linear_figures(found), linear_tables(found))
    about = "Gradient descent on linear systems whose spectral norm and spectral radius lie below 1, at 1 and above."
    return _filled(Chapter("linear", "Linear systems", LINEAR_SYSTEMS, [block], about, ("C7",)))


def _filled(chapter: Chapter) -> Chapter:
    """Without empty blocks; tables that have no name of their own have that of the document."""
    blocks = [
        replace(block, tables=[replace(shown, name=shown.name or chapter.document) for shown in block.tables])
        for block in chapter.blocks
        if block.figures or block.tables
    ]
    return replace(chapter, blocks=blocks)


def _of_section(part: Section, figures: Sequence[Figure | None], shown: Table | None) -> Block:
    return _placed(part.caption, part.name, figures, [shown])


def _of_machine(file: str, measured: Mapping[str, Any]) -> Block:
    """Measurements of speed; all numbers of a table come from one file."""
    tables = [
        replace(shown, name=name, runs=_of_a_file(shown, file))
        for name, make in _OF_SPEED.items()
        if (shown := make(measured)) is not None
    ]
    place = file.removeprefix("sequences-").removesuffix(".json")
    return _placed(measured["hardware"], place, [speed_curves(file, measured)], tables)


def _of_a_file(shown: Table, file: str) -> list[dict[int, tuple[str, ...]]]:
    first = shown.heads.index("steps") + 1 if "steps" in shown.heads else 2
    return [dict.fromkeys(range(first, len(shown.heads)), (file,)) for _ in shown.lines]


def _placed(title: str, place: str, figures: Sequence[Figure | None], tables: Sequence[Table | None]) -> Block:
    """With text and profile, or machine, in the names of the files and in what is told beside them."""
    return Block(
        title,
        [replace(figure, place=place, where=title) for figure in figures if figure],
        [replace(shown, place=place, where=title) for shown in tables if shown],
    )
