"""Recurrent against feed-forward training at the same k."""

import statistics
from collections.abc import Sequence

from stablernn.record import Record
from stablernn.report.load import Section, setting
from stablernn.report.names import APPROXIMATION_NAMES, MODEL_NAMES, STABILITIES
from stablernn.report.rows import Cell
from stablernn.report.tables import Table, trained_for
from stablernn.wording import counted


def sweep_cells(section: Section) -> dict[tuple[str, str, int], dict[str, Cell]]:
    """Runs by model, constraint and k, and then by approximation; only where k was swept."""
    groups: dict[tuple[str, str, int], dict[str, list[Record]]] = {}
    for record in section.records:
        key = (setting(record, "model.name"), setting(record, "stability.name"), setting(record, "truncation.k"))
        groups.setdefault(key, {}).setdefault(setting(record, "approximation.name"), []).append(record)
    return {key: {name: Cell(tuple(runs)) for name, runs in by.items()} for key, by in groups.items()}


def sweep_table(section: Section) -> Table | None:
    """A line for each model and k; None where no k was trained both ways."""
    cells = sweep_cells(section)
    if not any(len(by) == len(APPROXIMATION_NAMES) for by in cells.values()):
        return None
    heads = ["model", "k"]
    heads += [head for stability in STABILITIES for head in (stability, "feed-f.", "± %")]
    told = (*APPROXIMATION_NAMES.values(), "difference %")
    columns = [*heads[:2], *(f"{stability} {name}" for stability in STABILITIES for name in told)]
    lines, runs = [], []
    models = sorted({model for model, _, _ in cells}, key=lambda name: list(MODEL_NAMES).index(name))
    for model in models:
        for k in sorted({k for name, _, k in cells if name == model}):
            line = [MODEL_NAMES[model], str(k)]
            behind: dict[int, tuple[str, ...]] = {}
            for stability in STABILITIES:
                by = cells.get((model, stability, k), {})
                recurrent, truncated = (by.get(name, Cell(())) for name in APPROXIMATION_NAMES)
                both = [tuple(run.id for run in cell.runs) for cell in (recurrent, truncated)]
                behind |= dict(enumerate([*both, both[0] + both[1]], len(line)))
                line += [recurrent.text(), truncated.text(), _difference(recurrent, truncated)]
            lines.append(line)
            runs.append(behind)
    seeds = len({setting(record, "seed") for record in section.records})
    notes = [
        "test perplexity; unstable, stable: recurrent, backpropagation through k steps, state carried on",
        "feed-f.: feed-forward, exactly k words a position, trained on the same batches; ± %: against recurrent",
        "every run sees the same words, so a small k makes more updates: compare along a line, not down a column",
        "1 seed a cell: how far seeds spread is not known, so small differences mean nothing"
        if seeds == 1
        else f"{counted(seeds, 'seed')} a cell: mean ± standard deviation (seeds)",
        trained_for(section.records),
    ]
    title = f"Recurrent and feed-forward training on {section.caption}"
    return Table(title, heads, lines, notes, runs=runs, columns=columns)


def _difference(recurrent: Cell, truncated: Cell) -> str:
    if not recurrent.values or not truncated.values:
        return "–"
    return f"{100 * (statistics.mean(truncated.values) / statistics.mean(recurrent.values) - 1):+.1f}"


def sweep_sections(parts: Sequence[Section]) -> list[Section]:
    """The sections in which some k was trained both ways."""
    return [part for part in parts if sweep_table(part) is not None]
