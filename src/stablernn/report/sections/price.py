"""What stability costs: perplexity against the certified rate, constraint by constraint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stablernn.records.record import Record
from stablernn.report.difference import difference, relative, signed
from stablernn.report.labels import options_apart
from stablernn.report.load import Section, setting
from stablernn.report.names import (
    CONSTRAINTS,
    MODEL_NAMES,
    STABILITIES,
    STUDIED,
    constraint_rank,
    own_constraints,
    rank,
)
from stablernn.report.rows import Cell, differing, settings_of
from stablernn.report.sections.certificate import rate
from stablernn.report.tables import Table, trained_for
from stablernn.utils.wording import counted


@dataclass(frozen=True)
class Price:
    """The runs of one model under one constraint at one limit.

    ``note`` and ``options``: what sets them apart from like runs, among the settings and among the constraint's own.
    """

    model: str
    note: str
    constraint: str
    options: str
    limit: float | None
    runs: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Of the model, with what else it may not be compared with."""
        return MODEL_NAMES.get(self.model, self.model) + (f" ({self.note})" if self.note else "")

    @property
    def label(self) -> str:
        """Of the constraint, without its limit."""
        named = self.constraint != "stable" or self.model in STUDIED
        known = CONSTRAINTS.get(self.constraint, self.constraint) if named else self.constraint
        return f"{known} ({self.options})" if self.options else known

    @property
    def cell(self) -> Cell:
        return Cell(self.runs)

    @property
    def unknown(self) -> bool:
        """Whether no certificate was computed."""
        return all(run.certificate.get("certified") is None for run in self.cell.finished)

    @property
    def rates(self) -> list[float]:
        """The certified rates of the runs that finished, where all of them are certified."""
        finished = self.cell.finished
        found = [run.certificate.get("rate") if run.certificate.get("certified") else None for run in finished]
        return [value for value in found if value is not None] if None not in found else []


def prices(section: Section) -> list[Price]:
    """The recurrent runs at the settings at which more than the study's two constraints were tried, in order."""
    recurrent = [record for record in section.records if setting(record, "approximation.name") == "recurrent"]
    tried = [settings_of(record) for record in recurrent if setting(record, "stability.name") not in STABILITIES]
    kept = [record for record in recurrent if settings_of(record) in tried]
    groups: dict[tuple, list[Record]] = {}
    for record, options in zip(kept, options_apart(kept), strict=True):
        model = setting(record, "model.name")
        alike = [settings_of(other) for other in kept if setting(other, "model.name") == model]
        note = differing(settings_of(record), alike)
        key = model, note, setting(record, "stability.name"), options, _limit(record)
        groups.setdefault(key, []).append(record)

    def order(key: tuple) -> tuple:
        model, note, constraint, options, limit = key
        return rank(model), model, note, constraint_rank(constraint), constraint, options, limit or 0

    return [Price(*key, runs=tuple(groups[key])) for key in sorted(groups, key=order)]


def _limit(record: Record) -> float | None:
    return setting(record, "stability.constraint").get("limit")


def price_table(section: Section, certificates: Sequence[tuple[Record, dict[str, Any]]]) -> Table | None:
    """A line for each constraint and limit; None where there is nothing to compare."""
    found = prices(section)
    if not found:
        return None
    analysed = {record.id: result for record, result in certificates}
    epsilon = next(iter(analysed.values()))["options"]["epsilon"] if analysed else 0.01
    heads = ["model", "constraint", "limit", "λ", "test", "± %", f"k({epsilon:g})", "gap"]
    unstable = {price.name: price.cell for price in found if price.constraint == "unstable"}
    lines, runs = [], []
    for price in found:
        runs.append(dict.fromkeys(range(2, len(heads)), tuple(run.id for run in price.runs)))
        rates = price.rates
        cost = difference(unstable.get(price.name, Cell(())), price.cell, relative)
        results = [analysed[run.id] for run in price.cell.finished if run.id in analysed]
        ks = [k for run in price.cell.finished if (k := _context(run, analysed.get(run.id), epsilon)) is not None]
        gaps = [
            result["measured"][str(result["measured_at"])]["largest"]
            for result in results
            if result["measured_at"] is not None
        ]
        lines.append(
            [
                price.name,
                price.label,
                f"{price.limit:g}" if price.limit is not None else "–",
                rate(max(rates)) if rates else "–" if price.unknown else "no",
                price.cell.text(),
                signed(cost.mean) if cost is not None and price.constraint != "unstable" else "–",
                f"{max(ks):,}" if ks and len(ks) == len(price.cell.finished) else "–",
                f"{max(gaps):.1g}" if gaps else "–",
            ]
        )
    options = next(iter(analysed.values()))["options"] if analysed else {"tokens": 0, "split": "valid", "k_max": 0}
    every = [record for price in found for record in price.runs]
    constraints = {price.constraint for price in found}
    seeds = len({setting(record, "seed") for record in every})
    notes = [
        "1 seed a cell: how far seeds spread is not known, so small differences mean nothing"
        if seeds == 1
        else f"{counted(seeds, 'seed')}: mean ± standard deviation (seeds); λ and k of the seed where they are largest",
        "λ: certified rate of contraction (no: nothing is proven); test: perplexity; ± %: against the unstable model, "
        "over the seeds that both have",
        f"k({epsilon:g}): words of context that provably change no log-probability by more than {epsilon:g} nats",
        f"gap: the largest change measured on {options['tokens']:,} {options['split']} words"
        f" (at k = {options['k_max']} where k is larger), nats",
        "as coded: its limits prove nothing, λ is what is found for these weights"
        if {"lstm_as_coded", "rnn_as_coded"} & set(constraints)
        else "",
        "as stated: the study’s condition"
        if any(price.constraint == "stable" and price.model in STUDIED for price in found)
        else "",
        own_constraints(constraints),
        section.control_told,
        trained_for(every),
    ]
    return Table(
        f"What stability costs on {section.caption}", heads, lines, [note for note in notes if note], runs=runs
    )


def _context(run: Record, analysed: Mapping[str, Any] | None, epsilon: float) -> int | None:
    """k(ε) by the analysis of the certificate, or else as the run recorded it."""
    return analysed["k"] if analysed else run.certificate.get("context", {}).get(f"{epsilon:g}")
