"""Runs that differ in nothing but the seed, and the rows of tables that they make."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pandas as pd

from stablernn.records.record import Record
from stablernn.report.frame import frame, select
from stablernn.report.names import MODEL_NAMES, PUBLISHED
from stablernn.report.table import Value

UNPROVEN = (
    "no: nothing is proven in the norms that need no search, of an RNN others may prove more (table of certificates); "
    "of several seeds how many are certified, unless all are"
)
_NO_RUNS = frame([])


@dataclass(frozen=True, eq=False)
class Replicates:
    """Rows of the frame that differ in nothing but the seed."""

    runs: pd.DataFrame = field(default_factory=lambda: _NO_RUNS)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Replicates":
        return cls(frame(records))

    @property
    def first(self) -> Record:
        return self.runs.record.iloc[0]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.runs.id)

    @property
    def finished(self) -> pd.DataFrame:
        return select(self.runs, self.runs.finished)

    @property
    def values(self) -> list[float]:
        """Test scores of the runs that finished."""
        return self.finished.test.tolist()

    @property
    def diverged(self) -> int:
        return len(self.runs) - len(self.finished)

    @property
    def mean(self) -> Value:
        """Mean and standard deviation; ``diverged`` where no run finished."""
        values = self.finished.test
        if not len(values):
            return Value("diverged" if len(self.runs) else None, runs=self.ids)
        return Value(float(values.mean()), float(values.std()) if len(values) > 1 else None, runs=self.ids)

    @property
    def summary(self) -> Value:
        """``mean`` with the number of seeds and of diverged runs."""
        seeds = len(self.finished)
        return replace(self.mean, seeds=seeds if seeds > 1 else None, diverged=self.diverged if seeds else 0)

    @property
    def certificates(self) -> pd.DataFrame:
        """The runs that finished and have a certificate."""
        return select(self.finished, self.finished.certified.notna())

    @property
    def proven(self) -> tuple[float | str | None, int | None]:
        """The largest certified λ and k(0.01) of the seeds, None where not known.

        Unless all are certified, how many of them are, ``no`` for none, and no k.
        """
        known = self.certificates
        if not len(known):
            return None, None
        if not all(known.certified):
            return f"{sum(known.certified)}/{len(known)}" if any(known.certified) else "no", None
        return float(known.rate.max()), None if known.context.hasnans else int(known.context.max())


@dataclass
class Row:
    """One model and approximation at one k; ``note`` names settings that set it apart from a like row.

    ``cells``: by the name of the constraint, with the options in which it differs from others of the name.
    """

    model: str
    approximation: str
    k: int
    note: str
    cells: dict[str, Replicates] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return MODEL_NAMES.get(self.model, self.model) + (f" ({self.note})" if self.note else "")

    @property
    def first(self) -> Record:
        return next(iter(self.cells.values())).first

    @property
    def optimal(self) -> float | None:
        return self.first.metrics.get("optimal", {}).get("test")

    @property
    def published(self) -> dict[str, float]:
        """The published values that this row may be compared with, by constraint."""
        if self.approximation != "recurrent":
            return {}
        return {name: PUBLISHED[self.model, name] for name in self.cells if (self.model, name) in PUBLISHED}
