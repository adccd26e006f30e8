"""What figures of single runs share: names and colours of constraints."""

from collections.abc import Sequence
from typing import Any

from stablernn.record import Record
from stablernn.report.certificate import describe_stability
from stablernn.report.figure import Axis, Curve
from stablernn.report.load import setting
from stablernn.report.names import MODEL_NAMES, STABILITIES, constraint_rank, rank
from stablernn.report.palette import OTHERS, distinct

Found = Sequence[tuple[Record, dict[str, Any]]]

WORDS = Axis("k (words)", ticks=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
BEST_POSSIBLE = Curve("best possible with k words", "ink")
DASHES = {"recurrent": ((1, 0), (9, 3), (7, 2, 2, 2)), "feedforward": ((5, 3), (2, 2), (1, 3))}


def constraint_colour(name: str) -> str:
    """The same for a constraint in every figure of perplexities."""
    return name if name in STABILITIES else OTHERS[constraint_rank(name) % len(OTHERS)]


def model_name(model: str) -> str:
    return MODEL_NAMES.get(model, model)


def coloured(found: Found) -> list[tuple[str, str, str, Record, dict[str, Any]]]:
    """Model, constraint (with its limit where it is not the study's) and its colour, run, result; as in the tables."""

    def order(entry: tuple[Record, dict[str, Any]]) -> tuple[int, int, str]:
        stability = setting(entry[0], "stability.name")
        place = STABILITIES.index(stability) if stability in STABILITIES else len(STABILITIES)
        return rank(setting(entry[0], "model.name")), place, entry[0].id

    ordered = sorted(found, key=order)
    others = distinct(setting(record, "stability.name") for record, _ in ordered)
    return [
        (
            model_name(setting(record, "model.name")),
            name if name in STABILITIES else describe_stability(record),
            others.get(name, name),
            record,
            result,
        )
        for record, result in ordered
        for name in [str(setting(record, "stability.name"))]
    ]
