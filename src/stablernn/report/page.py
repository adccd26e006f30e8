"""The page: verdicts, tables, interactive figures and every run in one file that asks nothing of any network."""

import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup, escape

from stablernn.report.contents import verdicts
from stablernn.report.draw import CONFIG, FONT, interactive
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Curve
from stablernn.report.palette import COLOURS
from stablernn.report.runs import runs_of
from stablernn.report.section import Block, Chapter
from stablernn.report.sections.study import study_table
from stablernn.report.text import typeset
from stablernn.utils.escaping import terminal, visible
from stablernn.utils.wording import counted


def page(evidence: Evidence, chapters: list[Chapter]) -> str:
    """The whole page; the same text from the same records."""
    lead = next((block for chapter in chapters for block in chapter.blocks if block.introduction), None)
    others = [chapter for chapter in chapters if any(block is not lead for block in chapter.blocks)]
    figures = [figure for chapter in chapters for block in chapter.blocks for figure in block.figures]
    assets = Path(__file__).with_name("assets")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(assets),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: terminal(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = _typeset
    environment.filters["counted"] = counted
    study = Block("The study’s table", [], [study_table(evidence.tasks)]) if evidence.tasks else None
    return environment.get_template("page.html").render(
        study=study,
        verdicts=verdicts(evidence),
        lead=lead,
        chapters=others,
        runs=runs_of(evidence),
        texts=list(dict.fromkeys(data.caption for data in (*evidence.tasks, *evidence.slices))),
        colours=COLOURS,
        font=Markup(FONT),
        style=Markup((assets / "page.css").read_text(encoding="utf-8")),
        script=Markup((assets / "page.js").read_text(encoding="utf-8")),
        library=Markup(_library()),
        config=_inline(CONFIG),
        curves=_inline({figure.stem: [_legend(curve) for curve in figure.curves] for figure in figures}),
        panels=_inline({figure.stem: interactive(figure) for figure in figures}),
    )


def _legend(curve: Curve) -> dict[str, Any]:
    """With its name as markup: in the legend too an index stands below."""
    return {**asdict(curve), "markup": _typeset(curve.label)}


@cache
def _library() -> str:
    """Vega, Vega-Lite and their loader as one script."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _inline(value: Any) -> Markup:
    """JSON that no parser of HTML takes for markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _typeset(text: str) -> Markup:
    """`name` as code, indices (λ_r, f_∞, ‖W‖_F) below the line, numbers as a compositor would, k = 5 in one line."""
    unbroken = re.sub(r"(?<=\b[A-Za-z]) = (?=\d)", "\u00a0=\u00a0", typeset(visible(text)))
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(unbroken)))
    return Markup(re.sub(r"((?<!\w)[A-Za-zλ]|‖)_(\w+|∞)", r"\1<sub>\2</sub>", marked))
