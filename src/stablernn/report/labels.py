"""What runs and their constraints are called in tables and figures."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from stablernn.records.record import Record
from stablernn.report.frame import distinguish, frame, settings_of
from stablernn.report.load import Analyses, directions, setting
from stablernn.report.names import CONSTRAINTS, MODEL_NAMES, STABILITIES, STUDIED, approximation_name
from stablernn.report.text import span


def describe(analyses: Analyses) -> list[tuple[str, str]]:
    """Run and constraint of each; the seed stands with the constraint where two would be alike."""
    records = [record for record, _ in analyses]
    names = list(zip(map(describe_run, records), describe_constraints(records), strict=True))
    return [
        (run, f"{constraint}, seed {setting(record, 'seed')}" if names.count((run, constraint)) > 1 else constraint)
        for (run, constraint), record in zip(names, records, strict=True)
    ]


def over_seeds(analyses: Analyses) -> list[tuple[str, str, Analyses]]:
    """Run, constraint and the analyses of each group of runs that differ in nothing but the seed."""
    constraints = describe_constraints([record for record, _ in analyses])
    groups: dict[tuple[str, str, str], list[tuple[Record, dict[str, Any]]]] = {}
    for (record, result), constraint in zip(analyses, constraints, strict=True):
        kind = describe_run(record), constraint, json.dumps(settings_of(record), sort_keys=True)
        groups.setdefault(kind, []).append((record, result))
    return [(run, constraint, group) for (run, constraint, _), group in groups.items()]


def of_which_seeds(analyses: Analyses) -> str:
    """A note for tables with a line a run: two lines of a model stand for two seeds, one for the seed named here."""
    seeds = span([str(seed) for seed in sorted({setting(record, "seed") for record, _ in analyses})])
    return f"each line is of one run (seed {seeds})"


def on_each_side(records: Iterable[Record]) -> list[str]:
    """A note for tables of k, where it is of some models on each side."""
    both = any(directions(record) == 2 for record in records)
    return ["of models of both directions k is on each side of a position, its own input counted on both"] * both


def describe_run(record: Record) -> str:
    """Model, approximation if it is feed-forward, and k."""
    model, approximation = setting(record, "model.name"), setting(record, "approximation.name")
    kind = "" if approximation == "recurrent" else f" {approximation_name(approximation)}"
    return f"{MODEL_NAMES.get(model, model)}{kind} k={setting(record, 'truncation.k')}"


def describe_constraints(records: Sequence[Record]) -> list[str]:
    """The constraint of each run as ``describe_constraint``, with the options that set it apart from its like."""
    return [describe_constraint(record, options) for record, options in zip(records, options_of(records), strict=True)]


def describe_briefly(records: Sequence[Record]) -> list[str]:
    """The same, with the study's constraints by their names alone where a model has but one of the name."""
    kinds = [(str(setting(record, "model.name")), str(setting(record, "stability.name"))) for record in records]
    names = list(zip(kinds, describe_constraints(records), strict=True))
    several = Counter(kind for kind, _ in set(names))
    return [kind[1] if kind[1] in STABILITIES and several[kind] == 1 else full for kind, full in names]


def describe_constraint(record: Record, options: str = "") -> str:
    """The constraint as readers know it, its limit, and ``options``; the study's have one name for both models."""
    name, constraint = str(setting(record, "stability.name")), setting(record, "stability.constraint")
    known = name if name in STABILITIES else CONSTRAINTS.get(name, name)
    if "limit" in constraint:
        limit = f"{constraint['limit']:g}"
        known = known.replace("λ", limit) if known.endswith("≤ λ") else f"{known} at {limit}"
    return f"{known} ({options})" if options else known


def constraint_name(record: Record, name: str) -> str:
    """A constraint as Table 1 has it, with its limit; ``name``: with the options that tell it from its like."""
    options = ", ".join(option for option in name.split(", ")[1:] if not option.startswith("limit="))
    model, limit = setting(record, "model.name"), setting(record, "stability.constraint").get("limit")
    if setting(record, "stability.name") != "stable" or model not in STUDIED:
        return describe_constraint(record, options)
    norm = "‖W‖₂ ≤ λ" if limit is None else f"‖W‖₂ ≤ {limit:g}"
    known = f"stable ({norm if model == 'rnn' else CONSTRAINTS['stable']})"
    return f"{known} ({options})" if options else known


def options_of(records: Sequence[Record]) -> list[str]:
    """For each run the options, beside the limit, in which constraints of its name on its model differ."""
    runs = frame(records).set_index("id")
    runs["options"] = [{key: value for key, value in entry.items() if key != "limit"} for entry in runs.options]
    notes = dict(zip(runs.index, distinguish(runs, "options", ["model", "stability"]), strict=True))
    return [notes[record.id] for record in records]
