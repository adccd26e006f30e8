"""Runs that differ in nothing but the seed."""

import json

from stablernn.record import Record
from stablernn.report.certificate import describe_stability
from stablernn.report.evidence import Found
from stablernn.report.load import setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.rows import settings_of


def alike(found: Found) -> list[tuple[str, Found]]:
    """A name for each group of runs over seeds, and the runs; in the order of the tables."""
    groups: dict[tuple, Found] = {}
    for record, result in found:
        settings = json.dumps(settings_of(record), sort_keys=True)
        groups.setdefault((_rank(record), setting(record, "truncation.k"), _name(record), settings), []).append(
            (record, result)
        )
    names = [name for _, _, name, _ in groups]
    return [
        (name if names.count(name) == 1 else f"{name} trained at k = {k}", groups[key])
        for key in sorted(groups)
        for _, k, name, _ in [key]
    ]


def unconstrained(record: Record) -> bool:
    """Whether a run is of a recurrent model without a constraint."""
    return (setting(record, "stability.name"), setting(record, "approximation.name")) == ("unstable", "recurrent")


def _name(record: Record) -> str:
    """The model, and the constraint where it is not the study's."""
    model = str(setting(record, "model.name"))
    name = MODEL_NAMES.get(model, model)
    of_the_study = setting(record, "stability.name") in STABILITIES
    return name if of_the_study else f"{name} {describe_stability(record)}"


def _rank(record: Record) -> int:
    name = setting(record, "model.name")
    return list(MODEL_NAMES).index(name) if name in MODEL_NAMES else len(MODEL_NAMES)
