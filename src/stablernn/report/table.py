"""A table: columns that know how their numbers are written, and rows of numbers with the runs behind them.

Numbers stay numbers until a formatter (``formats``, ``latex``, the page) writes them.
"""

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

NOTHING = "–"
_SCORE = re.compile(r"(,?)\.([1-9])f")
_MOST_DECIMALS = 7  # of float32 little is left beyond
_FINE = 4  # decimals of scores that may come near 0


def decimals(
    format: str | Callable[[Any], str], spread: float | None, value: float | int | str | None = None
) -> str | Callable[[Any], str]:
    """The format of a number by its spread and its value: the one rule for all tables.

    A score has its column's decimals, and more where its spread would read 0 and is not: as many as show its first
    digit. A difference, which has a sign, has those of its column: its resolution is that of the margin. So have
    numbers of other kinds. A score whose column has four decimals or more has two
    significant digits at least, as it may come near 0.
    """
    scores = _SCORE.fullmatch(format) if isinstance(format, str) else None
    if scores is None:
        return format
    places = int(scores[2])
    if spread and math.isfinite(spread) and not float(f"{spread:{format}}".replace(",", "")):
        places = min(math.ceil(-math.log10(spread)), _MOST_DECIMALS)
    if int(scores[2]) >= _FINE and isinstance(value, float) and 0 < abs(value) < 0.95 * 10.0 ** (1 - places):
        places = 1 - math.floor(math.log10(abs(value)))
    return f"{scores[1]}.{places}f" if places <= _MOST_DECIMALS else ".1e"


@dataclass(frozen=True)
class Column:
    """What stands in a column, and how it is written.

    Attributes:
        head: above it.
        format: of its numbers, a format specification or a function.
        name: the head without abbreviation, for CSV; empty: the head.
        kind: ``number``; ``text``, which says what a row is about; or ``key``, a number that does.
        unit: of the numbers.
        spread: what the part behind ± is, for CSV.
        spread_format: of it; empty: that of the numbers without a sign.
        drop: where there is no room for all columns, those with a number above 0 are left out, the least first.
    """

    head: str
    format: str | Callable[[Any], str] = ""
    name: str = ""
    kind: str = "number"
    unit: str = ""
    spread: str = "deviation"
    spread_format: str = ""
    drop: int = 0

    @property
    def full_name(self) -> str:
        return self.name or self.head

    def write(self, value: Any) -> str:
        """A number without what stands around it; text stays as it is."""
        if value is None or isinstance(value, str):
            return NOTHING if value is None else value
        return self.format(value) if callable(self.format) else format(value, self.format)

    def write_spread(self, value: float) -> str:
        if self.spread_format or not callable(self.format):
            return format(value, self.spread_format or self.format.lstrip("+"))
        return self.format(value)


def text(head: str, **options: Any) -> Column:
    return Column(head, kind="text", **options)


def key(head: str, format: str = "", **options: Any) -> Column:
    return Column(head, format, kind="key", **options)


@dataclass(frozen=True)
class Value:
    """A number with what belongs to it.

    Attributes:
        value: the number, or a word in its place; None: there is none.
        spread: the part behind ±; None: not known.
        to: the upper end of a range that begins at the value.
        seeds: that it is a mean over; None: not said.
        diverged: runs that have no number, of ``runs``.
        of: how many there should be, where it is a count of fewer.
        runs: ids of the runs behind it; None: those of the row.
        format: of the number, where it is not the column's.
    """

    value: float | int | str | None
    spread: float | None = None
    to: float | None = None
    seeds: int | None = None
    diverged: int = 0
    of: int | None = None
    runs: tuple[str, ...] | None = None
    format: str | Callable[[Any], str] = ""

    @classmethod
    def mean(cls, values: Sequence[float]) -> "Value":
        """Mean over runs, with the standard deviation where there are several."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def parts(self, column: Column) -> dict[str, str]:
        """What the value says, as written, by kind."""
        column = replace(column, format=decimals(self.format or column.format, self.spread, self.value))
        parts = {"value": column.write(self.value)}
        if self.to is not None and (to := column.write(self.to)) != parts["value"]:
            parts["value"] += f"–{to}"
        if self.value is None and self.diverged:
            parts["value"] = "diverged"
            return parts
        if self.spread is not None:
            parts["spread"] = column.write_spread(self.spread)
        numbers = {"seeds": self.seeds, "diverged": self.diverged or None, "of": self.of}
        return parts | {kind: str(number) for kind, number in numbers.items() if number is not None}

    def write(self, column: Column) -> str:
        parts = self.parts(column)
        written = parts["value"]
        written += f" ± {parts['spread']}" if "spread" in parts else ""
        written += f" ({parts['seeds']})" if "seeds" in parts else ""
        written += f", {self.diverged} of {len(self.runs or ())} diverged" if "diverged" in parts else ""
        return written + (f" of {parts['of']}" if "of" in parts else "")


Entry = Value | str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table of a section.

    Attributes:
        rows: an entry a column.
        notes: on the whole table.
        remarks: on single rows.
        runs: a row: ids of the runs behind its numbers; empty where nothing leads to runs.
        name, place: of its files: the subject, and text and profile.
        where: text and profile for readers.
    """

    title: str
    columns: list[Column]
    rows: list[list[Entry]]
    notes: list[str]
    remarks: list[str] = field(default_factory=list)
    runs: list[tuple[str, ...]] = field(default_factory=list)
    name: str = ""
    place: str = ""
    where: str = ""

    @property
    def heads(self) -> list[str]:
        return [column.head for column in self.columns]

    @property
    def values(self) -> list[list[Value]]:
        """The rows, every entry with the runs behind it."""
        return [
            [self._value(entry, column, row) for column, entry in zip(self.columns, entries, strict=True)]
            for row, entries in enumerate(self.rows)
        ]

    def _value(self, entry: Entry, column: Column, row: int) -> Value:
        value = entry if isinstance(entry, Value) else Value(entry)
        runs = self.runs[row] if self.runs and column.kind == "number" else ()
        return value if value.runs is not None else replace(value, runs=runs)

    @property
    def lines(self) -> list[list[str]]:
        """The rows as written."""
        return [
            [value.write(column) for column, value in zip(self.columns, values, strict=True)] for values in self.values
        ]

    @property
    def droppable(self) -> list[Column]:
        """The columns that a place too narrow for all leaves out, the first ones first."""
        return sorted((column for column in self.columns if column.drop), key=lambda column: column.drop)

    def without(self, count: int) -> "Table":
        """So many droppable columns fewer, and a note that names them."""
        dropped = self.droppable[:count]
        shown = [at for at, column in enumerate(self.columns) if column not in dropped]
        heads = ", ".join(column.head for column in dropped)
        return replace(self.only(shown), notes=[*self.notes, f"{heads}: in the CSV file"] if dropped else self.notes)

    def only(self, places: Sequence[int]) -> "Table":
        """The columns at these places, counted from 0."""
        return replace(
            self,
            columns=[self.columns[at] for at in places],
            rows=[[row[at] for at in places] for row in self.rows],
        )

    def narrowed(self, fits: Callable[["Table"], bool]) -> "Table":
        """As many columns as fit."""
        every = [self.without(count) for count in range(len(self.droppable) + 1)]
        return next(filter(fits, every), every[-1])

    @property
    def stem(self) -> str:
        """The name of its files, without an ending."""
        return f"{self.name}_{self.place}" if self.place else self.name

    @property
    def short_title(self) -> str:
        """Under a heading that names text and profile."""
        return self.title.replace(f" on {self.where}", "") if self.where else self.title

    @property
    def full_title(self) -> str:
        """Where it stands alone."""
        return self.title if self.where in self.title else f"{self.title}: {self.where}"
