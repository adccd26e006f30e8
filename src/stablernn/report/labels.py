"""What runs and their constraints are called in tables and figures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stablernn.records.record import Record
from stablernn.report.load import Found, setting
from stablernn.report.names import CONSTRAINTS, MODEL_NAMES, STABILITIES, approximation_name
from stablernn.report.rows import differing


def describe(found: Found) -> list[tuple[str, str]]:
    """Run and constraint of each; the seed stands with the constraint where two would be alike."""
    records = [record for record, _ in found]
    told = list(zip(map(describe_run, records), describe_constraints(records), strict=True))
    return [
        (run, f"{constraint}, seed {setting(record, 'seed')}" if told.count((run, constraint)) > 1 else constraint)
        for (run, constraint), record in zip(told, records, strict=True)
    ]


def describe_run(record: Record) -> str:
    """Model, approximation if it is feed-forward, and k."""
    model, approximation = setting(record, "model.name"), setting(record, "approximation.name")
    kind = "" if approximation == "recurrent" else f" {approximation_name(approximation)}"
    return f"{MODEL_NAMES.get(model, model)}{kind} k={setting(record, 'truncation.k')}"


def describe_constraints(records: Sequence[Record]) -> list[str]:
    """The constraint of each run as ``describe_constraint``, with the options that set it apart from its like."""
    return [describe_constraint(*entry) for entry in zip(records, options_apart(records), strict=True)]


def describe_briefly(records: Sequence[Record]) -> list[str]:
    """The same, with the study's constraints by their names alone where a model has but one of the name."""
    kinds = [(str(setting(record, "model.name")), str(setting(record, "stability.name"))) for record in records]
    told = list(zip(kinds, describe_constraints(records), strict=True))
    several = Counter(kind for kind, _ in set(told))
    return [kind[1] if kind[1] in STABILITIES and several[kind] == 1 else full for kind, full in told]


def describe_constraint(record: Record, options: str = "") -> str:
    """The constraint as readers know it, its limit, and ``options``; the study's have one name for both models."""
    name, constraint = str(setting(record, "stability.name")), setting(record, "stability.constraint")
    known = name if name in STABILITIES else CONSTRAINTS.get(name, name)
    if "limit" in constraint:
        limit = f"{constraint['limit']:g}"
        known = known.replace("λ", limit) if known.endswith("≤ λ") else f"{known} {limit}"
    return f"{known} ({options})" if options else known


def options_apart(records: Sequence[Record]) -> list[str]:
    """For each run the options, beside the limit, in which constraints of its name on its model differ."""

    def kind(record: Record) -> tuple[str, str]:
        return setting(record, "model.name"), setting(record, "stability.name")

    def options(record: Record) -> dict[str, Any]:
        return {key: value for key, value in setting(record, "stability.constraint").items() if key != "limit"}

    like: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        like.setdefault(kind(record), []).append(options(record))
    return [differing(options(record), like[kind(record)]) for record in records]
