"""Runs that differ in nothing but the seed."""

import json
from typing import Any

from stablernn.records.record import Record
from stablernn.report.frame import settings_of
from stablernn.report.labels import describe_briefly
from stablernn.report.load import Analyses, setting
from stablernn.report.names import MODEL_NAMES, rank

Groups = list[tuple[str, Analyses]]


def alike(analyses: Analyses) -> Groups:
    """A name for each group of runs over seeds, and the runs; in the order of the tables."""
    groups: dict[tuple, list[tuple[Record, dict[str, Any]]]] = {}
    constraints = describe_briefly([record for record, _ in analyses])
    for entry, constraint in zip(analyses, constraints, strict=True):
        model, k = str(setting(entry[0], "model.name")), setting(entry[0], "truncation.k")
        name = MODEL_NAMES.get(model, model) + ("" if constraint == "unstable" else f" {constraint}")
        settings = json.dumps(settings_of(entry[0]), sort_keys=True)
        groups.setdefault((rank(model), k, name, settings), []).append(entry)
    names = [name for _, _, name, _ in groups]
    return [
        (name if names.count(name) == 1 else f"{name} trained at k = {k}", groups[kind])
        for kind in sorted(groups)
        for _, k, name, _ in [kind]
    ]


def unconstrained(analyses: Analyses) -> Groups:
    """The same of recurrent models without a constraint."""
    kind = ("unstable", "recurrent")
    options = ("stability.name", "approximation.name")
    return alike([entry for entry in analyses if tuple(setting(entry[0], option) for option in options) == kind])
