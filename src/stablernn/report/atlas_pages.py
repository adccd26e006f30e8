"""The atlas of memory as pages: of each mechanism its equations, what it solves and how far it remembers."""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path

import stablernn
from stablernn.report.curves import model_name
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.formats import markdown
from stablernn.report.palette import shades
from stablernn.report.sections.atlas import atlas_table, every_mechanism
from stablernn.report.sections.atlas_questions import OWN, Mapped, families, family
from stablernn.report.sections.gradient_horizon import drawn, in_order, moments
from stablernn.report.table import Table, text
from stablernn.report.text import listed
from stablernn.utils.escaping import markdown_text, visible

_CELLS = re.compile(r"stablernn\.models\.cells\.(?:\w+\.)?(\w+)")
_CHAPTERS = re.compile(r"\n\n(?:Args|Raises|Attributes):\n")
_GUIDE = "cells that were to remember longer", "docs/memory.md"
_OWN_GUIDE = "classes of your own", "docs/extending.md"
_HOW_TITLE = "How to read a page"
_HOW = f"[{_HOW_TITLE}](README.md#{_HOW_TITLE.lower().replace(' ', '-')})"
_VERDICTS = ("solved", "better", "at chance", "at the baseline")  # how they begin, the best first


def page_texts(evidence: Evidence, docs: bool = True) -> dict[str, str]:
    """A page for each mechanism with a run in the atlas, those of the user last, and their contents, by file name.

    Args:
        docs: whether the documents lie where links from a checkout's results lead.
    """
    models = _by_model(evidence)
    if not models:
        return {}
    pages = {
        f"{model}.md": _page(model, here, evidence, _linked(_OWN_GUIDE if family(model) == OWN else _GUIDE, docs))
        for model, here in models.items()
    }
    return {**pages, "README.md": _contents(models, evidence, _linked(_GUIDE, docs))}


def _linked(guide: tuple[str, str], docs: bool) -> str:
    title, file = guide
    return f"[{title}](../../{file})" if docs else f"{title} ({file} of the repository)"


def page_figures(evidence: Evidence) -> dict[str, Figure]:
    """Of each mechanism whose gradients were followed how far they reach on each task, by file name."""
    figures = {f"{model}.svg": _figure(model, here) for model, here in _by_model(evidence).items()}
    return {name: figure for name, figure in figures.items() if figure}


def _by_model(evidence: Evidence) -> dict[str, list[Mapped]]:
    every = every_mechanism(evidence)
    names = [
        *families(),
        *sorted({one.model for one in every} - families().keys(), key=lambda name: (family(name), name)),
    ]
    models = {model: [one for one in every if one.model == model] for model in names}
    return {model: here for model, here in models.items() if here}


def _page(model: str, here: Sequence[Mapped], evidence: Evidence, guide: str) -> str:
    """Heading, equations, a column a task, and how far gradients reach."""
    record = here[0].cell.first
    target = record.config["model"].get("cell", {}).get("_target_")
    settings = _settings(here)
    followed = any(one.of("gradient_horizon") for one in here)
    parts = [
        f"# {model_name(model)}",
        f"`model={model}`, of the kind *{family(model)}*, in the [atlas of memory](README.md). How to train it, and "
        f"what keeps it stable: {guide}.",
        equations_of(target) or _verbatim(record.model.get("equations", "")),
        f"Here with {'; '.join(settings)}." if settings else "",
        markdown(_turned(atlas_table(here, evidence.speeds))).rstrip() + f"\n\n{_HOW}",
        f"![Gradients of the loss by earlier inputs]({model}.svg)" if followed else "",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _settings(here: Sequence[Mapped]) -> list[str]:
    """The options of the cell; where they are not the same everywhere, with the tasks."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in here:
        for name, value in one.cell.first.config["model"].get("cell", {}).items():
            if not name.startswith("_"):
                option = visible(f"model.cell.{name}={value}").replace("`", "'")
                tasks = found.setdefault(name, {}).setdefault(f"`{option}`", [])
                tasks += [one.task] * (one.task not in tasks)
    return [
        ", ".join(f"{option} ({listed(tasks)})" for option, tasks in values.items())
        if len(values) > 1
        else next(iter(values))
        for values in found.values()
    ]


def _turned(table: Table) -> Table:
    """A line a measurement, and a column for each line of the table."""
    heads = [task if constraint == "unstable" else f"{task}, {constraint}" for task, _, constraint, *_ in table.lines]
    every = zip(table.heads, zip(*table.lines, strict=True), strict=True)
    rows = [[head, *cells] for head, cells in every if head not in ("task", "mechanism", "constraint")]
    return replace(table, title="Measured", columns=[*map(text, ("", *heads))], rows=rows, notes=[], runs=[])


def _verbatim(said: str) -> str:
    """What a class of the user says of itself, letter by letter: a record may come from anywhere."""
    return "\n".join(f"    {visible(line)}".rstrip() for line in _CHAPTERS.split(said)[0].split("\n"))


def equations_of(target: str | None) -> str:
    """What the source says of a cell of this package, without its arguments; nothing of any other.

    Args:
        target: its dotted name. Nothing is imported, as it comes from a record.
    """
    cell = _CELLS.fullmatch(str(target))
    said = _docstrings().get(cell[1], "") if cell else ""
    return _CHAPTERS.split(said)[0].replace("::\n", ":\n").replace("``", "`")


@cache
def _docstrings() -> dict[str, str]:
    """Of each class of the package's cells, by name."""
    sources = sorted((Path(stablernn.__file__).parent / "models" / "cells").glob("*.py"))
    nodes = [node for path in sources for node in ast.parse(path.read_text(encoding="utf-8")).body]
    return {node.name: ast.get_docstring(node) or "" for node in nodes if isinstance(node, ast.ClassDef)}


def _figure(model: str, here: Sequence[Mapped]) -> Figure | None:
    analyses = [entry for one in here for entry in one.analyses["gradient_horizon"]]
    drawing = Drawing()
    curves = {label: Curve(label, colour) for label, colour in shades(in_order(analyses)).items()}
    drawing.announce(curves.values())
    for one in here:
        title = one.task if one.stability == "unstable" else f"{one.task}, {one.constraint}"
        for record, result in one.analyses["gradient_horizon"]:
            for moment in moments(record, result):
                drawing.line(title, curves[moment.label], drawn(moment), (record.id,))
    farthest = max((result["options"]["horizon"] for _, result in analyses), default=1)
    return drawing.figure(
        model,
        f"{model_name(model)}: how much of the gradient is left i inputs back",
        "Mean norm of the gradient of the loss at t + i by the input at t, from before training (dark) to its end.",
        Axis("i (inputs)", logarithmic=False, most=farthest, own=True),
        Axis("mean norm of the gradient", powers=True),
    )


def _contents(models: dict[str, list[Mapped]], evidence: Evidence, guide: str) -> str:
    parts = [
        "# Atlas of memory",
        "Mechanisms that were to give recurrent networks long memory, a page each: equations, what is proven, how far "
        "gradients and outputs reach, which tasks are solved. All of it in [one table](../tables/atlas.md). How they "
        f"were trained: {guide}.",
    ]
    for kind, some in groupby(models, key=family):
        pages = [f"- [{model_name(model)}]({model}.md): {_verdicts(models[model])}" for model in some]
        parts += [f"## {kind[:1].upper()}{kind[1:]}", "\n".join(pages)]
    every = [one for here in models.values() for one in here]
    # Questions are answered beside the whole table.
    notes = [note for note in atlas_table(every, evidence.speeds).notes if "?" not in note]
    parts += [f"## {_HOW_TITLE}", "\n".join(f"- {markdown_text(note)}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _verdicts(here: Sequence[Mapped]) -> str:
    """The tasks by verdict, the best first."""
    said: dict[str, list[str]] = {}
    for one in here:
        said.setdefault(one.verdict, []).append(
            one.task if one.stability == "unstable" else f"{one.task} ({one.constraint})"
        )

    def place(words: str) -> int:
        return next((at for at, beginning in enumerate(_VERDICTS) if words.startswith(beginning)), len(_VERDICTS))

    return markdown_text("; ".join(f"{words}: {listed(said[words])}" for words in sorted(said, key=place)))
