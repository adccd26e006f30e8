"""What stability costs: perplexity against the certified rate, constraint by constraint."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stablernn.record import Record
from stablernn.report.certificate import rate
from stablernn.report.load import Section, setting
from stablernn.report.tables import MODEL_NAMES, Cell, Table, settings_of

# Constraints in the order of the table, with the names that readers know them by.
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
}
STUDY_ONLY = ("unstable", "stable")


@dataclass(frozen=True)
class Price:
    """The runs of one model under one constraint at one limit."""

    model: str
    constraint: str
    limit: float | None
    runs: tuple[Record, ...]

    @property
    def cell(self) -> Cell:
        return Cell(self.runs)

    @property
    def rates(self) -> list[float]:
        """The certified rates of the runs, where all of them are certified."""
        found = [run.certificate.get("rate") if run.certificate.get("certified") else None for run in self.runs]
        return [value for value in found if value is not None] if None not in found else []


def prices(section: Section) -> list[Price]:
    """The recurrent runs at the settings at which more than the study's two constraints were tried, in order."""
    recurrent = [record for record in section.records if setting(record, "approximation.name") == "recurrent"]
    tried = [settings_of(record) for record in recurrent if setting(record, "stability.name") not in STUDY_ONLY]
    groups: dict[tuple, list[Record]] = {}
    for record in recurrent:
        if settings_of(record) in tried:
            key = (setting(record, "model.name"), setting(record, "stability.name"), _limit(record))
            groups.setdefault(key, []).append(record)

    def order(key: tuple) -> tuple:
        model, constraint, limit = key
        place = list(CONSTRAINTS).index(constraint) if constraint in CONSTRAINTS else len(CONSTRAINTS)
        return list(MODEL_NAMES).index(model) if model in MODEL_NAMES else 99, model, place, constraint, limit or 0

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
    unstable = {
        price.model: statistics.mean(price.cell.values)
        for price in found
        if price.constraint == "unstable" and price.cell.values
    }
    lines, runs = [], []
    for price in found:
        runs.append(dict.fromkeys(range(2, len(heads)), tuple(run.id for run in price.runs)))
        values, rates = price.cell.values, price.rates
        ratio = statistics.mean(values) / unstable[price.model] - 1 if values and price.model in unstable else None
        results = [analysed[run.id] for run in price.runs if run.id in analysed]
        ks = [result["k"] for result in results if result["k"] is not None]
        gaps = [
            result["measured"][str(result["measured_at"])]["largest"]
            for result in results
            if result["measured_at"] is not None
        ]
        lines.append(
            [
                MODEL_NAMES.get(price.model, price.model),
                CONSTRAINTS.get(price.constraint, price.constraint),
                f"{price.limit:g}" if price.limit is not None else "–",
                rate(max(rates)) if rates else "none",
                price.cell.text(),
                f"{100 * ratio:+.1f}" if ratio is not None and price.constraint != "unstable" else "–",
                f"{max(ks):,}" if len(ks) == len(price.runs) else "–",
                f"{max(gaps):.1g}" if gaps else "–",
            ]
        )
    options = next(iter(analysed.values()))["options"] if analysed else {"tokens": 0, "split": "valid", "k_max": 0}
    every = [record for price in found for record in price.runs]
    seeds = len({setting(record, "seed") for record in every})
    epochs = sorted({f"{record.progress['epochs']:.2g}" for record in every})
    notes = [
        "1 seed a cell: how far seeds spread is not known, so small differences mean nothing"
        if seeds == 1
        else f"{seeds} seeds: mean ± standard deviation (seeds); λ and k of the seed where they are largest",
        "λ: certified rate of contraction; test: perplexity; ± %: against the unstable model",
        f"k({epsilon:g}): words of context that provably change no log-probability by more than {epsilon:g} nats",
        f"gap: the largest change measured on {options['tokens']:,} {options['split']} words"
        f" (at k = {options['k_max']} where k is larger), nats",
        "as coded: its limits prove nothing, λ is what is found for these weights"
        if _has(found, "lstm_as_coded")
        else "",
        "as stated: the study's condition; scalar, row-wise, 2-norm, i = 1 - f, W = 0: conditions of this project",
        f"trained for {' to '.join(dict.fromkeys((epochs[0], epochs[-1])))} epochs on "
        + ", ".join(sorted({record.hardware["device"] for record in every})),
    ]
    return Table(
        f"What stability costs on {section.caption}", heads, lines, [note for note in notes if note], runs=runs
    )


def _has(found: Sequence[Price], constraint: str) -> bool:
    return any(price.constraint == constraint for price in found)
