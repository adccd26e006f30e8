"""The table of a hyperparameter search: every trial, how far it went, what it reached on the validation split."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stablernn.records.record import DIVERGED, FINISHED, PAUSED, STOPPED, Record, read_alone
from stablernn.report.load import Section, setting
from stablernn.report.names import MODEL_NAMES
from stablernn.report.rows import settings_of
from stablernn.report.sections.perplexity import table
from stablernn.report.tables import Table, of_a_run
from stablernn.utils.console import warn_once
from stablernn.utils.errors import RecordError

TRIAL_FILE = "trial.json"  # a published record of a trial; no other report takes it for a result

_OUTCOMES = {DIVERGED: "diverged", PAUSED: "stopped", STOPPED: "stopped by its deadline"}


def load_trials(folder: Path) -> list[Record]:
    """The trials published below ``folder``; an unreadable one is named and left out."""
    found = []
    for path in sorted(folder.rglob(TRIAL_FILE)):
        try:
            record = read_alone(path)
            if record.id != path.parent.name:
                raise RecordError(f"{path} is of another run ({record.id}): search again")
            found.append(record)
        except RecordError as error:
            warn_once(f"left out: {error}")
    return found


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


def search_rows(section: Section) -> tuple[list[str], list[tuple[Record, list[str]]]]:
    """The options that were searched, and for each trial, model by model and best first, their values as text."""
    settings = {record.id: settings_of(record) for record in section.records}
    options = list(dict.fromkeys(option for values in settings.values() for option in values))
    varied = [
        option
        for option in options
        if any(
            len({json.dumps(settings[r.id].get(option)) for r in section.records if _model(r) == model}) > 1
            for model in {_model(record) for record in section.records}
        )
    ]

    def rank(record: Record) -> tuple:
        names = list(MODEL_NAMES)
        model = _model(record)
        kind = (FINISHED, STOPPED, PAUSED, DIVERGED).index(record.status)
        return names.index(model) if model in names else len(names), model, kind == 2, order(record)

    return varied, [
        (record, [_text(settings[record.id].get(option)) for option in varied])
        for record in sorted(section.records, key=rank)
    ]


def search_table(section: Section) -> Table:
    """A line a trial; the winners of the models are named."""
    varied, found = search_rows(section)
    best = {record.id for model in {_model(r) for r, _ in found} if (record := winner(_of(section, model)))}
    columns = ["model", "trial", "outcome", *varied, "parameters", "epochs", "valid"]
    lines = []
    for record, values in found:
        outcome = _OUTCOMES.get(record.status, "trained to its end")
        reached = math.isfinite(cost(record))
        model = _model(record)
        lines.append(
            [
                MODEL_NAMES.get(model, model),
                record.id.rpartition("-")[2],
                "winner" if record.id in best else outcome,
                *values,
                f"{record.model['parameters']:,}",
                f"{record.progress['epochs']:.3g}",
                f"{record.metrics['valid']['value']:.2f}" if reached else "–",
            ]
        )
    notes = [
        f"{section.records[0].metric.name} on the validation split, the best up to where the trial went; the test "
        "split plays no part",
        *["stopped: others were better at the same epoch (successive halving)"]
        * any(record.status == PAUSED for record, _ in found),
        "on " + ", ".join(sorted({record.hardware["device"] for record in section.records})),
    ]
    if len({setting(record, "seed") for record in section.records}) == 1:
        notes.insert(-1, "one seed a trial: small differences between the best mean nothing")
    heads = [column.rpartition(".")[2] for column in columns]
    runs = of_a_run([record for record, _ in found], heads, texts=3)
    title = f"Search of the hyperparameters on {section.caption}"
    return Table(title, heads, lines, notes, runs=runs, texts=3, columns=columns)


def winners_table(section: Section) -> Table:
    """The perplexity table of runs that start from the winners."""
    made = table(section)
    return replace(made, title=made.title.replace(" on ", ", hyperparameters of the search, on ", 1))


def _of(section: Section, model: str) -> list[Record]:
    return [record for record in section.records if _model(record) == model]


def _model(record: Record) -> str:
    return setting(record, "model.name")


def _text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "–" if value is None else f"{value}"
