"""The page: the answer, verdicts, tables, figures and every run in one file that asks nothing of any network."""

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from stablernn.report.answer import answer, leading_of
from stablernn.report.contents import verdicts
from stablernn.report.draw import drawings
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Figure
from stablernn.report.palette import COLOURS
from stablernn.report.runs import runs_of
from stablernn.report.section import Block, Chapter
from stablernn.report.sections.answer import SECTION as ANSWER
from stablernn.report.sections.study import study_table
from stablernn.report.text import typeset
from stablernn.utils.escaping import terminal, visible
from stablernn.utils.wording import counted

_ASSETS = Path(__file__).with_name("assets")


def page(evidence: Evidence, chapters: list[Chapter]) -> str:
    """The whole page; the same text from the same records."""
    environment = _environment()
    judged, groups = verdicts(evidence), runs_of(evidence)
    leading = leading_of(evidence, judged)
    every = [block for chapter in chapters for block in chapter.blocks]
    every_run = dict.fromkeys(run for group in groups for source in group.sources for run in source.behind)
    numbers = {run: n for n, run in enumerate(every_run)}

    def numbered(runs: Sequence[str] | None) -> list[int]:
        return [*dict.fromkeys(numbers[run] for run in runs or () if run in numbers)]

    environment.filters["numbered"] = numbered
    environment.filters["shared"] = lambda row: _shared([value.runs for value in row if numbered(value.runs)])
    environment.filters["spans"] = _spans
    return environment.get_template("page.html").render(
        title="Do recurrent models need to be recurrent?",
        sentences=answer(leading),
        study=study_table(evidence.tasks) if evidence.tasks else None,
        figure=next((figure for one in chapters if one.section is ANSWER for figure in one.blocks[0].figures), None),
        verdicts=judged,
        leading=leading,
        chapters=[(one.section, *_shown(one.blocks, every)) for one in chapters if one.section is not ANSWER],
        groups=groups,
        numbers=numbers,
        script=Markup((_ASSETS / "page.js").read_text(encoding="utf-8")),
    )


def _shared(runs: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Those behind most of a row's numbers, which the page then names once."""
    return max(runs, key=runs.count, default=())


def _spans(numbers: Sequence[int]) -> str:
    """3 4 5 9 as 3-5 9: the seeds of a model are neighbours."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return " ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ends)


def examination_page(title: str, text: str, figures: Sequence[Figure]) -> str:
    """A page of a screen of text and the figures of it, in the style of the report's."""
    return _environment().get_template("examination.html").render(title=title, text=text, figures=figures)


def _environment() -> jinja2.Environment:
    """Templates with the filters and the style of every page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: terminal(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    number = count()
    environment.filters["typeset"] = _typeset
    environment.filters["counted"] = counted
    environment.filters["drawings"] = lambda figure: map(Markup, drawings(figure, f"c{next(number)}"))
    environment.globals["colours"] = COLOURS
    environment.globals["style"] = Markup((_ASSETS / "page.css").read_text(encoding="utf-8"))
    return environment


def _shown(blocks: Sequence[Block], every: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """Those that the page draws, and those of which it links the files: minor ones, where there are others."""
    if all(block.minor for block in every):
        return list(blocks), []
    shown = [block for block in blocks if not block.minor] or list(blocks[:1])
    return shown, [block for block in blocks if block not in shown]


def _typeset(text: str) -> Markup:
    """`name` as code, indices (λ_r, f_∞, ‖W‖_F) below the line, numbers as a compositor would, k = 5 in one line."""
    unbroken = re.sub(r"(?<=\b[A-Za-z]) = (?=\d)", "\u00a0=\u00a0", typeset(visible(text)))
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(unbroken)))
    return Markup(re.sub(r"((?<!\w)[A-Za-zλ]|‖)_(\w+|∞)", r"\1<sub>\2</sub>", marked))
