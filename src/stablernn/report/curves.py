"""What figures of runs share: names and colours of constraints, and means over seeds."""

from collections.abc import Iterable
from typing import Any

from stablernn.records.record import Record
from stablernn.report.figure import Axis, Curve, Drawing
from stablernn.report.labels import constraint_name, describe_briefly
from stablernn.report.load import Analyses, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES, constraint_rank
from stablernn.report.palette import OTHERS
from stablernn.report.replicates import Replicates
from stablernn.report.text import typeset

WORDS = Axis("k (words)", ticks=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000))
BEST_POSSIBLE = Curve("best possible with k words", "ink")
DASHES = {"recurrent": (1, 0), "feedforward": (5, 3)}
DOTTED = (2, 3)


def constraint_colours(constraints: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A colour for each label, from pairs of a constraint's name and a label.

    A constraint has the same in every figure; one that comes again with other options gets one that none has.
    """
    pairs = dict.fromkeys(constraints)
    own = {name: name if name in STABILITIES else OTHERS[constraint_rank(name) % len(OTHERS)] for name, _ in pairs}
    free = [colour for colour in OTHERS if colour not in own.values()]
    colours: dict[str, str] = {}
    for name, label in pairs:
        colours.setdefault(label, free.pop() if own[name] in colours.values() and free else own[name])
    return colours


def curve_name(name: str, cell: Replicates) -> str:
    """The study's constraints by one name for both models, others as in the table."""
    return name if name in STABILITIES else typeset(constraint_name(cell.first, name))


def model_name(model: str) -> str:
    return MODEL_NAMES.get(model, model)


def coloured(analyses: Analyses) -> list[tuple[str, str, str, Record, dict[str, Any]]]:
    """Model, constraint and its colour, run and result of each, in the order of the tables."""
    records = [record for record, _ in analyses]
    labels = describe_briefly(records)
    names = [str(setting(record, "stability.name")) for record in records]
    colours = constraint_colours(zip(names, labels, strict=True))
    return [
        (model_name(setting(record, "model.name")), label, colours[label], record, result)
        for label, (record, result) in zip(labels, analyses, strict=True)
    ]


def mean_over_seeds(drawing: Drawing, model: str, curve: Curve, x: float, cell: Replicates) -> None:
    """The mean of a cell as a point, with its standard deviation as a bar where there are several seeds."""
    mean, spread = cell.mean.value, cell.mean.spread
    if not isinstance(mean, float):
        return
    bar = {} if spread is None else {"low": mean - spread, "high": mean + spread}
    drawing.point(model_name(model), curve, x, mean, cell.ids, **bar)
