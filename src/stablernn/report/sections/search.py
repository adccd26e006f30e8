"""The search of hyperparameters: every trial, how far it went, what it reached on the validation split."""

import json
import math
from collections.abc import Sequence
from typing import Any

from stablernn.records.record import DIVERGED, FINISHED, PAUSED, STOPPED, Record
from stablernn.report.frame import settings_of
from stablernn.report.load import setting
from stablernn.report.names import MODEL_NAMES, rank
from stablernn.report.section import Section, of_slice
from stablernn.report.slices import Slice
from stablernn.report.table import Column, Entry, Table, text

_BROKEN_OFF = "search broken off"
_OUTCOMES = {DIVERGED: "diverged", PAUSED: "stopped", STOPPED: "stopped by its deadline"}


def cost(record: Record) -> float:
    """The best on the validation split, the smaller the better; infinite where there is none."""
    value = record.metrics.get("valid", {}).get("value")
    return math.inf if value is None else record.metric.cost(value)


def order(record: Record) -> tuple[float, int, str]:
    """Best first, as the search ranks them: of two equal trials the smaller model."""
    return cost(record), record.model["parameters"], record.id


def winner(records: Sequence[Record]) -> Record | None:
    """The best of the trials that went to their end. No paused trial is better: it lost to one that only improved."""
    whole = [record for record in records if record.status == FINISHED and math.isfinite(cost(record))]
    return min(whole, key=order, default=None)


def outcomes(records: Sequence[Record]) -> dict[str, str]:
    """What became of each trial of one model, by id.

    Without a winner the search ended before its last rung: of trials that had come as far as any, none lost.
    """
    best = winner(records)
    farthest = max(record.progress["epochs"] for record in records)
    made = {record.id: _OUTCOMES.get(record.status, "trained to its end") for record in records}
    if best is not None:
        return made | {best.id: "winner"}
    ended = (each.id for each in records if each.status == PAUSED and each.progress["epochs"] == farthest)
    return made | dict.fromkeys(ended, _BROKEN_OFF)


def search_rows(data: Slice) -> tuple[list[str], list[tuple[Record, list[str | None]]]]:
    """The options that were searched, and for each trial, model by model and best first, their values as text."""
    settings = {record.id: settings_of(record) for record in data.records}
    options = list(dict.fromkeys(option for values in settings.values() for option in values))
    varied = [
        option
        for option in options
        if any(
            len({json.dumps(settings[r.id].get(option)) for r in of_model}) > 1 for of_model in _by_model(data).values()
        )
    ]

    def place(record: Record) -> tuple:
        model = _model(record)
        return rank(model), model, record.status == PAUSED, order(record)

    return varied, [
        (record, [_text(settings[record.id].get(option)) for option in varied])
        for record in sorted(data.records, key=place)
    ]


def search_table(data: Slice) -> Table:
    """A line a trial; the winners of the models are named."""
    varied, trials = search_rows(data)
    became = {id: outcome for records in _by_model(data).values() for id, outcome in outcomes(records).items()}
    entries: list[list[Entry]] = []
    for record, values in trials:
        model = _model(record)
        entries.append(
            [
                MODEL_NAMES.get(model, model),
                record.id.rpartition("-")[2],
                became[record.id],
                *values,
                record.model["parameters"],
                record.progress["epochs"],
                record.metrics["valid"]["value"] if math.isfinite(cost(record)) else None,
            ]
        )
    metric = data.records[0].metric
    notes = [
        f"{metric.name} on the validation split, the best up to where the trial went; the test split plays no part",
        "stopped: others were better at the same epoch (successive halving)",
        f"{_BROKEN_OFF}: no trial went farther, so that no winner is known" * (_BROKEN_OFF in became.values()),
        data.devices,
    ]
    columns = [
        *(text("model"), text("trial"), text("outcome")),
        *(Column(option.rpartition(".")[2], name=option) for option in varied),
        *(
            Column("parameters", ",d"),
            Column("epochs", ".3g"),
            Column("valid", ".4f" if data.synthetic else ".2f", unit=metric.name),
        ),
    ]
    title = f"Search of the hyperparameters on {data.caption}"
    return Table(title, columns, entries, [*filter(None, notes)], runs=[(record.id,) for record, _ in trials])


def _by_model(data: Slice) -> dict[str, list[Record]]:
    records: dict[str, list[Record]] = {}
    for record in data.records:
        records.setdefault(_model(record), []).append(record)
    return records


def _model(record: Record) -> str:
    return setting(record, "model.name")


def _text(value: Any) -> str | None:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else None if value is None else f"{value}"


SECTION = Section(
    "search",
    "Search of the hyperparameters",
    "Which settings were tried for the unstable models; the constrained models take over the winner’s.",
    lambda evidence: [of_slice(data, [], search_table(data)) for data in evidence.trials],
    "search",
)
