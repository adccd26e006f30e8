"""The series of the chapter on score against context: all models that see k inputs, by k.

A series is a kind of model at several k: a recurrent model truncated after training, one trained truncated, a network
that is feed-forward by construction (by its record: whatever is trained feed-forward under a name that no recurrent
model has), or n-gram models. Each is held by the rule of decision against the recurrent model of its name and
constraint, or else against the best one on validation.

Of a model that is truncated there is no loss from k on where none is at k or at any larger k examined: the tests go
down from the largest k and end at the first that fails, so that no correction for their number is needed. What is
trained with k is another model at each k, so the least k without a loss counts, by tests corrected for their number
(Holm).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from stablernn.report.baseline import Shortfall, shortfall
from stablernn.report.frame import groups, select
from stablernn.report.labels import constraint_name
from stablernn.report.load import Analyses, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.replicates import Replicates
from stablernn.report.sections.truncation import changed, has_errors
from stablernn.report.slices import Slice
from stablernn.report.statistics import (
    FEWEST_SEEDS,
    LEVEL,
    Comparison,
    compare,
    format_seeds,
    holm,
    seeds_required,
)
from stablernn.report.table import Value
from stablernn.report.text import typeset

TRUNCATED, TRAINED, BUILT, COUNTED = "truncated after training", "trained truncated", "feed-forward", "counts"
_LEFT_OUT = "search|price_of_stability|weight_distance"  # experiments whose runs are no models of a task
_FINE = ("no loss", "gain")
_BRIEF = {TRUNCATED: ", cut to k", TRAINED: ", trained at k"}


@dataclass(frozen=True)
class Point:
    """A series at one k.

    Attributes:
        score: as tables show it, mean and standard deviation over seeds.
        loss: by the rule of decision; None with too few seeds.
        change: the difference of the means on the natural scale; None: not known.
    """

    k: int
    score: Value
    seeds: int = 0
    loss: Comparison | None = None
    change: float | None = None
    cell: Replicates | None = None
    parameters: int | None = None

    @property
    def mean(self) -> float:
        assert isinstance(self.score.value, float)
        return self.score.value


@dataclass(frozen=True)
class Series:
    """A kind of model at several k, ascending; ``base`` is what it is held against, which n-gram models are not."""

    data: Slice
    model: str
    constraint: str
    stability: str
    how: str
    points: Sequence[Point]
    base: Replicates
    required: int = FEWEST_SEEDS
    analyses: Analyses = ()

    @property
    def short(self) -> str:
        """Model and constraint."""
        model = MODEL_NAMES.get(self.model, self.model)
        plain = self.how == COUNTED or (self.how == BUILT and self.stability == "unstable")
        return model if plain else f"{model} {self.constraint}"

    @property
    def name(self) -> str:
        """As readers know it."""
        return f"{self.short}, {self.how}" if self.how in _BRIEF else self.short

    @property
    def label(self) -> str:
        """In a figure."""
        return self.name.replace(f", {self.how}", _BRIEF.get(self.how, ""))

    @property
    def beside(self) -> Replicates:
        """The recurrent runs whose score is given beside: of a truncated model those that were truncated."""
        if self.how != TRUNCATED:
            return self.base
        truncated = [record.id for record, _ in self.analyses]
        return Replicates(select(self.base.runs, self.base.runs.id.isin(truncated)))

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Of each of these the figure shows one before it shows another."""
        if self.how in _BRIEF:
            return (self.how, ""), (self.how, self.stability if self.stability in STABILITIES else "")
        return ((self.how, self.model),)

    @property
    def best(self) -> Point:
        """By validation; of a truncated model, where nothing is chosen, the largest k; of counts by test."""
        if self.how == TRUNCATED:
            return self.points[-1]
        return min(self.points, key=lambda point: self._cost(point))

    @property
    def validated(self) -> float:
        """As ``validated``, of the best point, or of the model that was truncated."""
        return validated(self.data, self.best.cell or self.base)

    def _cost(self, point: Point) -> float:
        return self.data.metric.cost(point.mean) if point.cell is None else validated(self.data, point.cell)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run for point in self.points for run in point.score.runs or ()))

    @cached_property
    def shortfall(self) -> Shortfall | None:
        """Of the series or of what it is held against."""
        if self.how == COUNTED:
            return None
        return shortfall(self.data, self.base.ids) or shortfall(self.data, self.ids)

    @cached_property
    def enough(self) -> Point | None:
        """The least k without a loss, of a truncated model also at any larger one; None: none, or too few seeds."""
        if self.how in (TRAINED, BUILT):
            decided = [(point, point.loss.p_no_loss) for point in self.points if point.loss is not None]
            adjusted = holm([chance for _, chance in decided])
            fine = [point for (point, _), chance in zip(decided, adjusted, strict=True) if chance < 1 - LEVEL]
            return None if self.shortfall else next(iter(fine), None)
        least = None
        for point in reversed(self.points):
            if point.loss is None or point.loss.verdict not in _FINE:
                break
            least = point
        return None if self.shortfall else least

    @cached_property
    def verdict(self) -> str:
        """``no loss``, ``loss`` (of a truncated model at the largest k, else at each), ``undecided``, or empty."""
        losses = [point.loss for point in self.points if point.loss is not None]
        if self.shortfall or not losses or (self.how == TRUNCATED and self.points[-1].loss is None):
            return ""
        if self.enough:
            return "no loss"
        decisive = losses[-1:] if self.how == TRUNCATED else losses
        return "loss" if all(loss.verdict == "loss" for loss in decisive) else "undecided"

    def against(self, base: Replicates) -> "Series":
        """What is trained with k held against another recurrent model."""
        points = [_point(point.k, point.cell, base, self.required) for point in self.points if point.cell is not None]
        return replace(self, base=base, points=points)

    def says(self, point: Point) -> str:
        """The verdict at a point, in words."""
        if self.how == COUNTED:
            return "baseline"
        if self.shortfall:
            return self.shortfall.label
        if point.loss is None:
            return f"undecided ({format_seeds(point.seeds, self.required)})"
        few = point.seeds < self.required
        return point.loss.format_verdict(format_seeds(point.seeds, self.required) if few else "")

    @property
    def shown(self) -> Sequence[Point]:
        """The lines of the table: each k of training; of others one."""
        if self.how in (TRAINED, BUILT):
            return self.points
        return [self.best if self.how == COUNTED else self.enough or self._within or self.points[-1]]

    @property
    def _within(self) -> Point | None:
        """The least k from which on the measured change is below the margin, where seeds are too few for a verdict."""
        least = None
        for point in reversed(self.points):
            if point.loss is not None or point.change is None or point.change >= self.data.metric.margin:
                break
            least = point
        return least


def series_of(data: Slice, analyses: Analyses) -> list[Series]:
    """All series of a task, the best first; empty where no recurrent model is known."""
    runs = select(data.runs, ~data.runs.experiment.str.match(_LEFT_OUT) & data.runs.finished)
    recurrent = _best_cells(data, select(runs, runs.approximation == "recurrent"), ["model", "constraint"])
    if not recurrent:
        return []
    required = seeds_required(runs)
    best = min(recurrent.values(), key=lambda cell: validated(data, cell))
    made = [*_truncated(data, runs, analyses, required), *_trained(data, runs, recurrent, best, required)]
    if data.baseline:
        points = [Point(order - 1, Value(value)) for order, value in sorted(data.baseline.items())]
        made.append(Series(data, "n-gram (Kneser-Ney)", "", "", COUNTED, points, best))
    return sorted(made, key=lambda series: data.metric.cost(series.best.mean))


def _best_cells(data: Slice, runs: pd.DataFrame, kind: list[str]) -> dict[tuple, Replicates]:
    """Of each kind the runs that differ in the seed alone and have the best mean on validation."""
    made: dict[tuple, Replicates] = {}
    for of_kind, runs_of_cell in groups(runs, [*kind, "cell"]):
        cell, known = Replicates(runs_of_cell), made.get(of_kind[:-1])
        if known is None or validated(data, cell) < validated(data, known):
            made[of_kind[:-1]] = cell
    return made


def _truncated(data: Slice, runs: pd.DataFrame, analyses: Analyses, required: int) -> list[Series]:
    """Recurrent models that may see less after training; none where a curve has other scores than the runs."""
    if data.metric.of_tally is not None:
        return []
    names, analysed = dict(zip(runs.id, runs.name, strict=True)), {record.id for record, _ in analyses}
    known = runs.cell.isin(runs.cell[runs.id.isin(analysed)]) & (runs.approximation == "recurrent")
    made = []
    for base in _best_cells(data, select(runs, known), ["model", "constraint"]).values():
        here = [(record, result) for record, result in analyses if record.id in base.ids]
        ks = sorted(set.intersection(*(set(result["k"]) for _, result in here)))
        points = [_changed_point(data, here, k, required) for k in ks]
        made.append(Series(data, *names_of(base, names), TRUNCATED, points, base, required, here))
    return made


def names_of(cell: Replicates, names: Mapping[str, str]) -> tuple[str, str, str]:
    """Model, constraint as readers know it, and its name."""
    record, stability = cell.first, str(setting(cell.first, "stability.name"))
    name = names[record.id]
    shown = name if name in STABILITIES else typeset(constraint_name(record, name))
    return str(setting(record, "model.name")), shown, stability


def _changed_point(data: Slice, here: Analyses, k: int, required: int) -> Point:
    """What truncation to k makes of the test scores of the runs."""
    metric = data.metric
    at = [(record, result, result["k"].index(k)) for record, result in here]
    changes = [result["loss_change"][place] * metric.scale for _, result, place in at]
    scores = [changed(metric, record.metrics["test"]["value"], result["loss_change"][n]) for record, result, n in at]
    errors = [result["error"]["loss_change"][n] for _, result, n in at if has_errors(result)]
    mean, seeds = float(np.mean(changes)), len(changes)
    loss = None
    if seeds >= FEWEST_SEEDS:
        text_variance = (float(np.mean(errors)) * metric.scale) ** 2 if len(errors) == seeds else None
        spread = (float(np.std(changes, ddof=1)), 0.0)
        loss = Comparison(mean, spread, (seeds, seeds), text_variance, metric.margin, metric.scale_unit, required)
    value = replace(Value.mean(scores), runs=tuple(record.id for record, _ in here))
    return Point(k, value, seeds, loss, mean, parameters=here[0][0].model.get("parameters"))


def _trained(
    data: Slice, runs: pd.DataFrame, recurrent: Mapping[tuple, Replicates], best: Replicates, required: int
) -> list[Series]:
    """Models that see k inputs in training too."""
    feedforward, names = select(runs, runs.approximation != "recurrent"), dict(zip(runs.id, runs.name, strict=True))
    by_kind: dict[tuple, list[tuple[int, Replicates]]] = {}
    for (model, constraint, k), cell in _best_cells(data, feedforward, ["model", "constraint", "k"]).items():
        by_kind.setdefault((model, constraint), []).append((k, cell))
    models, made = {model for model, _ in recurrent}, []
    for (model, constraint), cells in by_kind.items():
        base = recurrent.get((model, constraint), best)
        points = [_point(k, cell, base, required) for k, cell in sorted(cells, key=lambda one: one[0])]
        how = TRAINED if model in models else BUILT
        made.append(Series(data, *names_of(cells[0][1], names), how, points, base, required))
    return made


def _point(k: int, cell: Replicates, base: Replicates, required: int) -> Point:
    change = float(cell.finished.natural.mean() - base.finished.natural.mean())
    loss = compare(base.finished, cell.finished, required)
    parameters = cell.first.model.get("parameters")
    return Point(k, cell.mean, min(len(cell.finished), len(base.finished)), loss, change, cell, parameters)


def validated(data: Slice, cell: Replicates) -> float:
    """The mean validation score, the smaller the better, by which models are chosen; infinite where there is none.

    A choice by test scores would favour what is compared with the model that is chosen.
    """
    mean = float(cell.finished.valid.mean())
    return math.inf if math.isnan(mean) else data.metric.cost(mean)


def best_recurrent(held: Sequence[Series]) -> Replicates:
    """Of those that series are held against, by validation."""
    return min((series.base for series in held), key=lambda cell: validated(held[0].data, cell))
