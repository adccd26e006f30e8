"""The perplexity table: a row for each model and approximation, columns unstable and stable."""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stablernn.record import DIVERGED, Record
from stablernn.report.load import Section, setting

# Miller & Hardt, blog of August 2018: WikiText-2 test perplexity of the recurrent models.
PUBLISHED = {
    ("rnn", "unstable"): 146.7,
    ("rnn", "stable"): 143.5,
    ("lstm", "unstable"): 92.3,
    ("lstm", "stable"): 95.1,
}

MODEL_NAMES = {"rnn": "RNN", "lstm": "LSTM"}
APPROXIMATION_NAMES = {"recurrent": "recurrent", "feedforward": "feed-forward"}
_APPROXIMATIONS = list(APPROXIMATION_NAMES)


def rank(model: str) -> int:
    """The order of models in tables and of panels in figures."""
    return list(MODEL_NAMES).index(model) if model in MODEL_NAMES else len(MODEL_NAMES)


@dataclass(frozen=True)
class Cell:
    """The runs of one model under one constraint that differ in nothing but the seed."""

    runs: tuple[Record, ...]

    @property
    def finished(self) -> tuple[Record, ...]:
        return tuple(run for run in self.runs if run.status != DIVERGED and "test" in run.metrics)

    @property
    def values(self) -> list[float]:
        return [run.metrics["test"]["perplexity"] for run in self.finished]

    def text(self, plus_minus: str = "±") -> str:
        """Mean ± standard deviation (n seeds), or what there is of it."""
        values = self.values
        if not self.runs:
            return "–"
        parts = []
        if len(values) == 1:
            parts.append(f"{values[0]:.1f}")
        elif values:
            parts.append(f"{statistics.mean(values):.1f} {plus_minus} {statistics.stdev(values):.1f} ({len(values)})")
        diverged = len(self.runs) - len(values)
        if diverged:
            parts.append("diverged" if not values else f"{diverged} of {len(self.runs)} diverged")
        return ", ".join(parts)


@dataclass
class Row:
    """One model and approximation at one k; ``note`` names settings that set it apart from a like row."""

    model: str
    approximation: str
    k: int
    note: str
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def any_run(self) -> Record:
        return next(iter(self.cells.values())).runs[0]

    @property
    def optimal(self) -> float | None:
        return self.any_run.metrics.get("optimal", {}).get("test")

    @property
    def epochs(self) -> str:
        values = [run.progress["epochs"] for cell in self.cells.values() for run in cell.finished]
        low, high = (f"{value:.2g}" for value in (min(values, default=0), max(values, default=0)))
        return low if low == high else f"{low}–{high}"

    @property
    def published(self) -> dict[str, float]:
        """The published values that this row may be compared with, by stability."""
        if self.approximation != "recurrent":
            return {}
        return {
            stability: PUBLISHED[self.model, stability]
            for stability in self.cells
            if (self.model, stability) in PUBLISHED
        }


STABILITIES = ("unstable", "stable")


def rows(section: Section) -> list[Row]:
    """The rows of the study's two constraints, RNN before LSTM, recurrent before feed-forward, small k first."""
    found: dict[tuple, Row] = {}
    kept = tuple(record for record in section.records if setting(record, "stability.name") in STABILITIES)
    section = replace(section, records=kept)
    settings = {record.id: settings_of(record) for record in section.records}
    for record in section.records:
        model, approximation, k = (setting(record, o) for o in ("model.name", "approximation.name", "truncation.k"))
        alike = [
            settings[other.id]
            for other in section.records
            if (
                setting(other, "model.name"),
                setting(other, "approximation.name"),
                setting(other, "truncation.k"),
            )
            == (model, approximation, k)
        ]
        differing = [key for key in settings[record.id] if len({json.dumps(s.get(key)) for s in alike}) > 1]
        note = ", ".join(f"{key}={settings[record.id][key]}" for key in differing)
        row = found.setdefault((model, approximation, k, note), Row(model, approximation, k, note))
        name = setting(record, "stability.name")
        before = row.cells.get(name, Cell(()))
        row.cells[name] = Cell((*before.runs, record))

    def order(key: tuple) -> tuple:
        model, approximation, k, note = key
        return (
            rank(model),
            model,
            _APPROXIMATIONS.index(approximation),
            k,
            note,
        )

    return [found[key] for key in sorted(found, key=order)]


def settings_of(record: Record) -> dict[str, Any]:
    """What may set two runs of one model apart: everything but the seed and the constraint."""

    def walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}" if path else key)
        else:
            yield path, node

    config = {
        key: value for key, value in record.config.items() if key not in ("seed", "stability", "dataset", "profile")
    }
    return dict(walk(config, ""))


@dataclass(frozen=True)
class Table:
    """A section's table as text, and the runs that each number comes from.

    Attributes:
        heads: of the columns.
        lines: a cell a column.
        notes: on the whole table.
        remarks: on single lines.
        runs: a line: column -> ids of the runs behind its number.
        texts: so many columns tell of what a line is; the others are numbers.
        columns: names without abbreviation, each once; empty where the heads do.
        name, place: of its files: what is told, and text and profile.
        where: text and profile for readers.
    """

    title: str
    heads: list[str]
    lines: list[list[str]]
    notes: list[str]
    remarks: list[str] = field(default_factory=list)
    runs: list[dict[int, tuple[str, ...]]] = field(default_factory=list)
    texts: int = 2
    columns: list[str] = field(default_factory=list)
    name: str = ""
    place: str = ""
    where: str = ""

    @property
    def names(self) -> list[str]:
        return self.columns or self.heads

    @property
    def stem(self) -> str:
        """The name of its files, without an ending."""
        return f"{self.name}_{self.place}" if self.place else self.name

    @property
    def short_title(self) -> str:
        """Where the heading above it tells text and profile."""
        return self.title.replace(f" on {self.where}", "") if self.where else self.title

    @property
    def full_title(self) -> str:
        """Where it stands alone."""
        return self.title if self.where in self.title else f"{self.title}: {self.where}"


def of_a_run(records: Sequence[Record], heads: Sequence[str], texts: int = 2) -> list[dict[int, tuple[str, ...]]]:
    """``Table.runs`` where every line tells of one run."""
    return [dict.fromkeys(range(texts, len(heads)), (record.id,)) for record in records]


def table(section: Section) -> Table:
    """Lay the rows out; columns that would be empty are left out."""
    body = rows(section)
    stabilities = sorted({name for row in body for name in row.cells}, key=lambda name: (name != "unstable", name))
    optimal = any(row.optimal for row in body)
    published = section.protocol
    heads = ["model", "approximation", "k", *stabilities]
    heads += ["optimum"] * optimal + [f"published {name}" for name in stabilities if published]
    heads += ["parameters", "epochs"]
    lines, runs = [], []
    for row in body:
        line = [
            MODEL_NAMES.get(row.model, row.model) + (f" ({row.note})" if row.note else ""),
            APPROXIMATION_NAMES[row.approximation],
            str(row.k),
            *(row.cells.get(name, Cell(())).text() for name in stabilities),
        ]
        line += [f"{row.optimal:.1f}" if row.optimal else "–"] * optimal
        line += [f"{row.published[name]:.1f}" if name in row.published else "–" for name in stabilities if published]
        lines.append([*line, f"{row.any_run.model['parameters']:,}", row.epochs])
        every = tuple(run.id for cell in row.cells.values() for run in cell.runs)
        behind = {heads.index(name): tuple(run.id for run in cell.runs) for name, cell in row.cells.items()}
        behind |= dict.fromkeys(range(len(heads) - 2, len(heads)), every)
        runs.append(behind | ({heads.index("optimum"): every} if optimal else {}))
    seeds = sorted({setting(record, "seed") for record in section.records})
    hardware = sorted({record.hardware["device"] for record in section.records})
    notes = [f"{len(seeds)} seeds a cell: mean ± standard deviation (seeds)"]
    if len(seeds) == 1:
        notes = ["1 seed a cell: how far seeds spread is not known, so small differences mean nothing"]
    notes.append("on " + ", ".join(hardware))
    if optimal:
        notes.append("optimum: exact, for the words of context that the model may use")
    return Table(f"Test perplexity on {section.caption}", heads, lines, notes, runs=runs)
