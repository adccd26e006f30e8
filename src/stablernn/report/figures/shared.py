"""What figures of single runs share: names and colours of constraints."""

from collections.abc import Iterable
from typing import Any

from stablernn.records.record import Record
from stablernn.report.figure import Axis, Curve
from stablernn.report.labels import describe_briefly
from stablernn.report.load import Found, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES, constraint_rank
from stablernn.report.palette import OTHERS

WORDS = Axis("k (words)", ticks=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
BEST_POSSIBLE = Curve("best possible with k words", "ink")
DASHES = {"recurrent": ((1, 0), (9, 3), (7, 2, 2, 2)), "feedforward": ((5, 3), (2, 2), (1, 3))}


def constraint_colours(told: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A colour for each label, from pairs of a constraint's name and a label.

    A constraint has the same in every figure; one that comes again with other options gets one that none has.
    """
    pairs = dict.fromkeys(told)
    own = {name: name if name in STABILITIES else OTHERS[constraint_rank(name) % len(OTHERS)] for name, _ in pairs}
    free = [colour for colour in OTHERS if colour not in own.values()]
    colours: dict[str, str] = {}
    for name, label in pairs:
        colours.setdefault(label, free.pop() if own[name] in colours.values() and free else own[name])
    return colours


def model_name(model: str) -> str:
    return MODEL_NAMES.get(model, model)


def coloured(found: Found) -> list[tuple[str, str, str, Record, dict[str, Any]]]:
    """Model, constraint and its colour, run and result of each, in the order of the tables."""
    records = [record for record, _ in found]
    labels = describe_briefly(records)
    names = [str(setting(record, "stability.name")) for record in records]
    colours = constraint_colours(zip(names, labels, strict=True))
    return [
        (model_name(setting(record, "model.name")), label, colours[label], record, result)
        for label, (record, result) in zip(labels, found, strict=True)
    ]
