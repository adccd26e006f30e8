"""A table as text, whoever shows it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from stablernn.records.record import Record
from stablernn.utils.wording import counted


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
        interval: what the CSV file calls that half.
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
    interval: str = "half of the 95 % interval"
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
    return f"trained for {counted(span, 'epoch')} on {devices}"
