"""Recurrent against feed-forward training at the same k."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stablernn.records.record import Record
from stablernn.report.difference import Difference, difference, relative, signed
from stablernn.report.load import Section, setting
from stablernn.report.names import APPROXIMATION_NAMES, STABILITIES
from stablernn.report.rows import Cell, rows
from stablernn.report.sections.perplexity import constraint_name
from stablernn.report.tables import Table, trained_for
from stablernn.utils.wording import counted


@dataclass
class Pair:
    """The runs of one model under one constraint at one k, trained both ways or one.

    Attributes:
        model: as readers know it, with the settings that set it apart.
        constraint: by its name, with the options that set it apart.
        cells: by approximation.
    """

    model: str
    constraint: str
    k: int
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def both(self) -> tuple[Cell, Cell]:
        """Recurrent and feed-forward."""
        return self.cells.get("recurrent", Cell(())), self.cells.get("feedforward", Cell(()))

    @property
    def runs(self) -> list[Record]:
        return [run for cell in self.both for run in cell.runs]

    @property
    def whole(self) -> bool:
        return all(cell.runs for cell in self.both)

    @property
    def told(self) -> str:
        """The constraint as readers know it; the study's by their names."""
        cell = next(iter(self.cells.values()))
        return self.constraint if self.constraint in STABILITIES else constraint_name(cell.runs[0], self.constraint)

    @property
    def difference(self) -> Difference | None:
        """Feed-forward to recurrent, in per cent of the recurrent perplexity, over the seeds that both have."""
        return difference(*self.both, relative)


def pairs(section: Section) -> list[Pair]:
    """Runs by model, constraint and k, in the order of tables."""
    found: dict[tuple[str, str, int], Pair] = {}
    for row in rows(section):
        for name, cell in row.cells.items():
            pair = found.setdefault((row.name, name, row.k), Pair(row.name, name, row.k))
            pair.cells[row.approximation] = cell
    models, constraints = (list(dict.fromkeys(key[at] for key in found)) for at in (0, 1))
    return sorted(
        found.values(), key=lambda pair: (models.index(pair.model), constraints.index(pair.constraint), pair.k)
    )


def sweep_table(section: Section) -> Table | None:
    """A line for each model and k; None where no k was trained both ways."""
    found = {(pair.model, pair.constraint, pair.k): pair for pair in pairs(section)}
    if not any(pair.whole for pair in found.values()):
        return None
    constraints = {pair.constraint: pair.told for pair in found.values()}
    told = (*APPROXIMATION_NAMES.values(), "difference %")
    heads = ["model", "k", *(head for name in constraints.values() for head in (name, "feed-f.", "± %"))]
    columns = [*heads[:2], *(f"{name} {each}" for name in constraints.values() for each in told)]
    lines, runs = [], []
    for model in dict.fromkeys(pair.model for pair in found.values()):
        for k in sorted({pair.k for pair in found.values() if pair.model == model}):
            line = [model, str(k)]
            behind: dict[int, tuple[str, ...]] = {}
            for name in constraints:
                pair = found.get((model, name, k), Pair(model, name, k))
                ids = [tuple(run.id for run in cell.runs) for cell in pair.both]
                behind |= dict(enumerate([*ids, ids[0] + ids[1]], len(line)))
                change = pair.difference
                line += [*(cell.text() for cell in pair.both), signed(change.mean) if change else "–"]
            lines.append(line)
            runs.append(behind)
    seeds = len({setting(record, "seed") for record in section.records})
    notes = [
        "test perplexity; unstable, stable: recurrent, backpropagation through k steps, state carried on",
        "feed-f.: feed-forward, exactly k words a position, trained on the same batches; ± %: against recurrent"
        + ", over the seeds that both have" * (seeds > 1),
        "every run sees the same words, so a small k makes more updates: compare along a line, not down a column",
        "1 seed a cell: how far seeds spread is not known, so small differences mean nothing"
        if seeds == 1
        else f"up to {counted(seeds, 'seed')} a cell: mean ± standard deviation (seeds)",
        *[section.control_told] * bool(section.control),
        trained_for(section.records),
    ]
    title = f"Recurrent and feed-forward training on {section.caption}"
    return Table(title, heads, lines, notes, runs=runs, columns=columns)


def sweep_sections(parts: Sequence[Section]) -> list[Section]:
    """The sections in which some k was trained both ways."""
    return [part for part in parts if any(pair.whole for pair in pairs(part))]
