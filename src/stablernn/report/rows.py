"""The runs of a section in rows and cells: those of a cell differ in nothing but the seed."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stablernn.records.record import DIVERGED, Record
from stablernn.report.load import Section, place, setting
from stablernn.report.names import MODEL_NAMES, PUBLISHED, rank


def _has_test_score(run: Record) -> bool:
    """JSON has no infinity: a perplexity that was infinite is null."""
    return run.metrics.get("test", {}).get("value") is not None


@dataclass(frozen=True)
class Cell:
    """The runs of one model under one constraint that differ in nothing but the seed."""

    runs: tuple[Record, ...]

    @property
    def finished(self) -> tuple[Record, ...]:
        return tuple(run for run in self.runs if run.status != DIVERGED and _has_test_score(run))

    @property
    def values(self) -> list[float]:
        return [run.metrics["test"]["value"] for run in self.finished]

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
    for record in sorted(section.records, key=place):
        kind = model, approximation, k = _of(record)
        alike = [settings[other.id] for other in section.records if _of(other) == kind]
        note = differing(settings[record.id], alike)
        row = found.setdefault((*kind, note), Row(model, approximation, k, note))
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
        return rank(model), model, approximation != "recurrent", approximation, k, note

    return [found[key] for key in sorted(found, key=order)]


def _of(record: Record) -> tuple[str, str, int]:
    model, approximation, k = (setting(record, o) for o in ("model.name", "approximation.name", "truncation.k"))
    return model, approximation, k


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
