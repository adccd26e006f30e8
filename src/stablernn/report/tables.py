"""What tables are made of: runs that differ in nothing but the seed, by model, approximation and constraint."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stablernn.record import DIVERGED, Record
from stablernn.report.load import Section, setting

# Miller & Hardt, blog of August 2018: WikiText-2 test perplexity of the recurrent models. Whether the stable LSTM was
# trained under the condition as the paper states it or as code of September 2018 has it is not known.
PUBLISHED = {
    ("rnn", "unstable"): 146.7,
    ("rnn", "stable"): 143.5,
    ("lstm", "unstable"): 92.3,
    ("lstm", "stable"): 95.1,
    ("lstm", "lstm_as_coded"): 95.1,
}

MODEL_NAMES = {"rnn": "RNN", "lstm": "LSTM"}
APPROXIMATION_NAMES = {"recurrent": "recurrent", "feedforward": "feed-forward"}
_APPROXIMATIONS = list(APPROXIMATION_NAMES)
STABILITIES = ("unstable", "stable")  # the study's
# Constraints in the order of tables, with the names that readers know them by.
CONSTRAINTS = {
    "unstable": "unstable",
    "stable": "as stated",
    "rnn_spectral": "‖W‖₂ ≤ λ",
    "rnn_diagonal": "‖D W D⁻¹‖₂ ≤ λ",
    "lstm_as_coded": "as coded",
    "lstm_comparison": "scalar",
    "lstm_rowwise": "row-wise",
    "lstm_spectral": "2-norm",
    "lstm_coupled": "i = 1 - f",
    "lstm_gated_linear": "W = 0",
    "lstm_output_gate": "W_o alone",
}


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

    def mean(self, plus_minus: str = "±") -> str:
        """Mean ± standard deviation, or what there is of it."""
        values = self.values
        if not values:
            return "diverged" if self.runs else "–"
        spread = f" {plus_minus} {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.1f}{spread}"

    def text(self, plus_minus: str = "±") -> str:
        """Mean ± standard deviation (n seeds), or what there is of it."""
        values = self.values
        if not self.runs:
            return "–"
        parts = []
        if len(values) == 1:
            parts.append(self.mean())
        elif values:
            parts.append(f"{self.mean(plus_minus)} ({len(values)})")
        diverged = len(self.runs) - len(values)
        if diverged:
            parts.append("diverged" if not values else f"{diverged} of {len(self.runs)} diverged")
        return ", ".join(parts)


@dataclass
class Row:
    """One model and approximation at one k; ``note`` names settings that set it apart from a like row.

    ``cells``: by the name of the constraint, with the options in which it differs from others of the name.
    """

    model: str
    approximation: str
    k: int
    note: str
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return MODEL_NAMES.get(self.model, self.model) + (f" ({self.note})" if self.note else "")

    @property
    def any_run(self) -> Record:
        return next(iter(self.cells.values())).runs[0]

    @property
    def optimal(self) -> float | None:
        return self.any_run.metrics.get("optimal", {}).get("test")

    @property
    def published(self) -> dict[str, float]:
        """The published values that this row may be compared with, by constraint."""
        if self.approximation != "recurrent":
            return {}
        return {name: PUBLISHED[self.model, name] for name in self.cells if (self.model, name) in PUBLISHED}


def rows(section: Section) -> list[Row]:
    """RNN before LSTM, recurrent before feed-forward, small k first; in a row unstable before stable before others."""
    found: dict[tuple, Row] = {}
    settings = {record.id: settings_of(record) for record in section.records}
    for record in sorted(section.records, key=_place):
        place = model, approximation, k = _of(record)
        alike = [settings[other.id] for other in section.records if _of(other) == place]
        note = differing(settings[record.id], alike)
        row = found.setdefault((*place, note), Row(model, approximation, k, note))
        name = str(setting(record, "stability.name"))
        of_the_name = [
            setting(other, "stability.constraint")
            for other in section.records
            if (setting(other, "model.name"), setting(other, "stability.name")) == (model, name)
        ]
        name = ", ".join(filter(None, (name, differing(setting(record, "stability.constraint"), of_the_name))))
        before = row.cells.get(name, Cell(()))
        row.cells[name] = Cell((*before.runs, record))

    def order(key: tuple) -> tuple:
        model, approximation, k, note = key
        return rank(model), model, _APPROXIMATIONS.index(approximation), k, note

    return [found[key] for key in sorted(found, key=order)]


def _of(record: Record) -> tuple[str, str, int]:
    model, approximation, k = (setting(record, o) for o in ("model.name", "approximation.name", "truncation.k"))
    return model, approximation, k


def _place(record: Record) -> tuple:
    limit = setting(record, "stability.constraint").get("limit")
    return constraint_rank(str(setting(record, "stability.name"))), limit or 0, setting(record, "seed"), record.id


def constraint_rank(name: str) -> int:
    """The order of constraints in tables and legends."""
    return list(CONSTRAINTS).index(name) if name in CONSTRAINTS else len(CONSTRAINTS)


def differing(values: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """The entries of ``values`` in which its like differ."""
    found = [key for key in values if len({json.dumps(other.get(key)) for other in alike}) > 1]
    return ", ".join(f"{key}={values[key]}" for key in found)


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
        intervals: columns whose ± is half of a 95 % interval, not a standard deviation.
        spare: heads of columns that a place too narrow for all leaves out, the first ones first.
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
    intervals: frozenset[int] = frozenset()
    spare: tuple[str, ...] = ()

    def without(self, count: int) -> "Table":
        """So many spare columns fewer, and a note that names them."""
        left = self.spare[:count]
        kept = [column for column, head in enumerate(self.heads) if head not in left]
        return replace(
            self,
            heads=[self.heads[column] for column in kept],
            lines=[[line[column] for column in kept] for line in self.lines],
            runs=[{kept.index(column): names for column, names in run.items() if column in kept} for run in self.runs],
            columns=[self.columns[column] for column in kept] if self.columns else [],
            intervals=frozenset(kept.index(column) for column in self.intervals if column in kept),
            notes=[*self.notes, f"{', '.join(left)}: in the CSV file"] if left else self.notes,
        )

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


def trained_for(records: Iterable[Record]) -> str:
    """A note: for how many epochs, and on what."""
    records = list(records)
    epochs = [record.progress["epochs"] for record in records]
    span = " to ".join(dict.fromkeys(f"{value:.2g}" for value in (min(epochs), max(epochs))))
    devices = ", ".join(sorted({record.hardware["device"] for record in records}))
    return f"trained for {span} epoch{'' if span == '1' else 's'} on {devices}"
