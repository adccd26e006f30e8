"""Runs that differ in nothing but the seed."""

import json
from collections.abc import Sequence
from typing import Any

from stablernn.records.record import Record
from stablernn.report.labels import describe_briefly
from stablernn.report.load import Found, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES, rank
from stablernn.report.rows import settings_of


def alike(found: Found) -> list[tuple[str, Found]]:
    """A name for each group of runs over seeds, and the runs; in the order of the tables."""
    records = [record for record, _ in found]
    groups: dict[tuple, list[tuple[Record, dict[str, Any]]]] = {}
    for entry, name in zip(found, _names(records), strict=True):
        model, k = setting(entry[0], "model.name"), setting(entry[0], "truncation.k")
        settings = json.dumps(settings_of(entry[0]), sort_keys=True)
        groups.setdefault((rank(model), k, name, settings), []).append(entry)
    names = [name for _, _, name, _ in groups]
    return [
        (name if names.count(name) == 1 else f"{name} trained at k = {k}", groups[key])
        for key in sorted(groups)
        for _, k, name, _ in [key]
    ]


def unconstrained(record: Record) -> bool:
    """Whether a run is of a recurrent model without a constraint."""
    return (setting(record, "stability.name"), setting(record, "approximation.name")) == ("unstable", "recurrent")


def _names(records: Sequence[Record]) -> list[str]:
    """The model of each run, and the constraint unless it is the study's, at one limit."""
    models = [str(setting(record, "model.name")) for record in records]
    return [
        MODEL_NAMES.get(model, model) + ("" if constraint in STABILITIES else f" {constraint}")
        for model, constraint in zip(models, describe_briefly(records), strict=True)
    ]
