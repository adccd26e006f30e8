"""Score against context k of all models that see k inputs, beside the recurrent models which see all.

A series is a kind of model at several k: a recurrent model truncated after training, one trained truncated, a network
that is feed-forward by construction (by its record: whatever is trained feed-forward under a name that no recurrent
model has), or n-gram models. Each is held by the rule of decision against the recurrent model of its name and
constraint, or else against the best one. From k on there is no loss where none is at k or at any larger k examined: the
tests go down from the largest k and end at the first that fails, so that no correction for their number is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from stablernn.report.control import Shortfall, shortfall
from stablernn.report.curves import DASHES, DOTTED, WORDS, mean_over_seeds
from stablernn.report.evidence import Evidence
from stablernn.report.figure import MOST, Axis, Curve, Drawing, Figure
from stablernn.report.frame import groups, select
from stablernn.report.labels import constraint_name
from stablernn.report.load import Analyses, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.palette import OTHERS
from stablernn.report.replicates import Replicates
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.sections.truncation import changed, has_errors
from stablernn.report.slices import TITLES, Slice, gradient_note
from stablernn.report.statistics import FEWEST_SEEDS, Comparison, compare, format_seeds, seeds_required
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import sentence, typeset
from stablernn.utils.wording import counted

TRUNCATED, TRAINED, BUILT, COUNTED = "truncated after training", "trained truncated", "feed-forward", "counts"
_MATCHED = 0.1  # parameters
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
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """Of each of these the figure shows one before it shows another."""
        if self.how in _BRIEF:
            return (self.how, ""), (self.how, self.stability if self.stability in STABILITIES else "")
        return ((self.how, self.model),)

    @property
    def best(self) -> Point:
        return min(self.points, key=lambda point: self.data.metric.cost(point.mean))

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run for point in self.points for run in point.score.runs or ()))

    @cached_property
    def shortfall(self) -> Shortfall | None:
        """Of the series or of what it is held against."""
        if self.how == COUNTED:
            return None
        return shortfall(self.data, self.base.ids) or shortfall(self.data, self.ids)

    @property
    def enough(self) -> Point | None:
        """The least k from which on there is no loss; None: there is none, or too few seeds."""
        least = None
        for point in reversed(self.points):
            if point.loss is None or point.loss.verdict not in _FINE:
                break
            least = point
        return None if self.shortfall else least

    @property
    def verdict(self) -> str:
        """``no loss``, ``loss`` or ``undecided`` at the largest k; empty: nothing can be said."""
        loss = self.points[-1].loss
        if self.shortfall or loss is None:
            return ""
        return "no loss" if loss.verdict in _FINE else loss.verdict

    def says(self, point: Point) -> str:
        """The verdict at a point, in words."""
        if self.how == COUNTED:
            return "control"
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
    best = min(recurrent.values(), key=lambda cell: data.metric.cost(float(cell.finished.test.mean())))
    made = [*_truncated(data, runs, analyses, required), *_trained(data, runs, recurrent, best, required)]
    if data.control:
        points = [Point(order - 1, Value(value)) for order, value in sorted(data.control.items())]
        made.append(Series(data, "n-gram (Kneser-Ney)", "", "", COUNTED, points, best))
    return sorted(made, key=lambda series: data.metric.cost(series.best.mean))


def _best_cells(data: Slice, runs: pd.DataFrame, kind: list[str]) -> dict[tuple, Replicates]:
    """Of each kind the runs that differ in the seed alone and have the best mean."""
    made: dict[tuple, Replicates] = {}
    for of_kind, cell in groups(runs, [*kind, "cell"]):
        known = made.get(of_kind[:-1])
        if known is None or data.metric.cost(cell.test.mean()) < data.metric.cost(known.finished.test.mean()):
            made[of_kind[:-1]] = Replicates(cell)
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
        made.append(Series(data, *_names(base, names), TRUNCATED, points, base, required, here))
    return made


def _names(cell: Replicates, names: Mapping[str, str]) -> tuple[str, str, str]:
    """Model, constraint as readers know it, and its name."""
    record, stability = cell.first, str(setting(cell.first, "stability.name"))
    name = names[record.id]
    shown = name if name in STABILITIES else typeset(constraint_name(record, name))
    return str(setting(record, "model.name")), shown, stability


def _changed_point(data: Slice, here: Analyses, k: int, required: int) -> Point:
    """What truncation to k makes of the test scores of the runs."""
    metric = data.metric
    at = [(record, result, result["k"].index(k)) for record, result in here]
    changes = [result["log_perplexity"][place] * metric.scale for _, result, place in at]
    scores = [changed(metric, record.metrics["test"]["value"], result["log_perplexity"][n]) for record, result, n in at]
    errors = [result["error"]["log_perplexity"][n] for _, result, n in at if has_errors(result)]
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
        made.append(Series(data, *_names(cells[0][1], names), how, points, base, required))
    return made


def _point(k: int, cell: Replicates, base: Replicates, required: int) -> Point:
    change = float(cell.finished.natural.mean() - base.finished.natural.mean())
    loss = compare(base.finished, cell.finished, required)
    parameters = cell.first.model.get("parameters")
    return Point(k, cell.mean, min(len(cell.finished), len(base.finished)), loss, change, cell, parameters)


# ---- what is said


def sentences(data: Slice, every: Sequence[Series]) -> list[str]:
    """When, why, and what context is worth: three sentences, without a full stop."""
    held = [series for series in every if series.how != COUNTED]
    when = f"when, on {TITLES.get(data.data, data.data)}: without a loss, {_with_k(held) or 'none so far'}"
    for verdict, words in (("loss", "with a loss at the largest k"), ("undecided", "undecided")):
        if there := [series.name for series in held if series.verdict == verdict]:
            when += f"; {words}: {', '.join(there)}"
    if silent := sum(not series.verdict for series in held):
        when += f"; of {counted(silent, 'other')} nothing can be said yet"
    return [when, _why(data, held), _worth(data, held)]


def _why(data: Slice, held: Sequence[Series]) -> str:
    """By what the recurrent models themselves make of the inputs beyond."""
    own = [series for series in held if series.how == TRUNCATED and series.verdict]
    if ks := [series.enough.k for series in own if series.enough]:
        return (
            f"why: {len(ks)} of {counted(len(own), 'recurrent model')} lose nothing once they forget all but the last "
            f"{max(ks)} {data.metric.items}, so a feed-forward one has nothing to miss beyond"
        )
    if more := [series.points[-1].k for series in own if series.verdict == "loss"]:
        return f"why not: the recurrent models make use of more than the last {max(more)} {data.metric.items}"
    return "why is not known: of no recurrent model is it decided what it loses when it forgets"


def _with_k(held: Iterable[Series]) -> str:
    by_how: dict[str, list[str]] = {}
    for series in held:
        if series.enough:
            by_how.setdefault(series.how, []).append(f"{series.short} (k = {series.enough.k})")
    return "; ".join(f"{how}: {', '.join(names)}" for how, names in by_how.items())


def _worth(data: Slice, held: Sequence[Series]) -> str:
    """What the best model of few inputs gains of what the best recurrent one does, both over the control."""
    if data.best_control is None:
        return "what context is worth is not known, as there is no control"
    (control, bar), cost = data.best_control, data.metric.cost
    whole = cost(bar) - cost(float(best_recurrent(held).finished.test.mean()))
    if whole <= 0:
        return f"no recurrent model beats the control ({control}), so what context is worth is not known"
    series = min(held, key=lambda series: cost(series.best.mean))
    share = (cost(bar) - cost(series.best.mean)) / whole
    return (
        f"of what the best recurrent model gains over the control ({control}), {series.name} has {100 * share:.0f} % "
        f"at k = {series.best.k}"
    )


def best_recurrent(held: Sequence[Series]) -> Replicates:
    """Of those that series are held against."""
    cost = held[0].data.metric.cost
    return min((series.base for series in held), key=lambda cell: cost(float(cell.finished.test.mean())))


# ---- table and figure


def context_table(data: Slice, every: Sequence[Series]) -> Table:
    """A line for each recurrent model that others are held against, and for each series at the k that matter."""
    entries: list[list[Entry]] = []
    runs: list[tuple[str, ...]] = []
    bases = {series.base.ids: series for series in every if series.how != COUNTED}
    for base in (series.base for series in bases.values()):
        model, constraint, _ = _names(base, dict(zip(data.runs.id, data.runs.name, strict=True)))
        score = [base.first.model.get("parameters"), None, base.mean, len(base.finished)]
        entries.append([MODEL_NAMES.get(model, model), constraint, "recurrent", "all", *score, None, None])
        runs.append(base.ids)
    for series in every:
        model = MODEL_NAMES.get(series.model, series.model)
        for point in series.shown:
            change = point.change if point.loss is None else point.loss.mean
            loss = Value(change, point.loss.half() if point.loss else None)
            entries.append(
                [
                    *(model, series.constraint or None, series.how, point.k),
                    *(point.parameters, _matched(point, series.base), point.score, point.seeds or None),
                    *(loss, series.says(point)),
                ]
            )
            runs.append(tuple(dict.fromkeys((*series.base.ids, *(point.score.runs or ())))))
    metric = data.metric
    columns = [
        *(text("model"), text("constraint"), text("context")),
        key("k", unit=metric.items),
        Column("parameters", ",d", drop=1),
        Column("matched"),
        Column(metric.name, f".{metric.places}f"),
        Column("seeds"),
        Column("loss", "+.3f", spread="to the ends of the one-sided 95 % intervals", unit=metric.scale_unit),
        Column("verdict"),
    ]
    notes = [
        *sentences(data, every),
        f"test {metric.title}, mean ± standard deviation; loss: against the recurrent model of the same name and "
        f"constraint, or else the best one, by the rule of decision (margin {metric.margin:g} {metric.scale_unit})",
        f"matched: parameters within {_MATCHED:.0%} of that recurrent model’s, or how many times as many",
        "truncated after training: at the k from which on there is no loss (where seeds decide nothing: none above the "
        "margin is measured), or else at the largest; the loss is the change of the same weights",
        *gradient_note(data.records),
        data.devices,
    ]
    return Table(f"Score against context on {data.caption}", columns, entries, notes, runs=runs)


def _matched(point: Point, base: Replicates) -> str | None:
    there = base.first.model.get("parameters")
    if not point.parameters or not there:
        return None
    ratio = point.parameters / there
    return "yes" if abs(ratio - 1) <= _MATCHED else f"{ratio:.2g} times"


def drawn(every: Sequence[Series], most: int = MOST) -> list[Series]:
    """The series of the figure: the best of each kind, then those of the study's constraints, then the best others."""
    shown: list[Series] = []
    for level in (0, -1):
        seen = {series.kinds[level] for series in shown}
        for series in every:
            if series.kinds[level] not in seen:
                seen.add(series.kinds[level])
                shown.append(series)
    return [*shown, *(series for series in every if series not in shown)][:most]


def context_figure(data: Slice, every: Sequence[Series]) -> Figure | None:
    """Score against k, and the best recurrent model as a rule."""
    drawing, metric, shown = Drawing(), data.metric, drawn(every)
    panel, free = TITLES.get(data.data, data.data), [*OTHERS]
    colours: dict[str, str] = {}
    for series in shown:
        own = series.stability if series.stability in STABILITIES and series.how != BUILT else ""
        colours[series.name] = own if own and own not in colours.values() else free.pop(0)
    for series in shown:
        dash = {TRAINED: DASHES["feedforward"], COUNTED: DOTTED}.get(series.how, (1, 0))
        curve = Curve(series.label, "ink" if series.how == COUNTED else colours[series.name], dash)
        for record, result in series.analyses:
            test = record.metrics["test"]["value"]
            changes = zip(result["k"], result["log_perplexity"], strict=True)
            drawing.line(panel, curve, ((k, changed(metric, test, nats)) for k, nats in changes), (record.id,))
        if series.how == COUNTED:
            drawing.line(panel, curve, ((point.k, point.mean) for point in series.points), ())
        for point in series.points if not series.analyses else ():
            if point.cell is not None:
                mean_over_seeds(drawing, panel, curve, point.k, point.cell)
    held = [series for series in every if series.how != COUNTED]
    best = best_recurrent(held)
    model = str(setting(best.first, "model.name"))
    enough = [series for series in held if series.enough]
    left = len(every) - len(shown)
    return drawing.figure(
        "context",
        f"{panel}: {len(enough)} of {counted(len(held), 'feed-forward model')} come without a loss, so far",
        f"{data.caption}: test {metric.title} by the last k {metric.items} alone. Lines: recurrent models truncated "
        "after training; dots: trained with k, mean and standard deviation over seeds; dotted: n-gram models. Rule: "
        f"the best recurrent model ({MODEL_NAMES.get(model, model)})."
        + (f" The best of each kind, at most {MOST}; {left} more in the table." if left else ""),
        Axis(WORDS.title.replace("words", metric.items), ticks=WORDS.ticks),
        Axis(f"test {metric.name}"),
        level=float(best.finished.test.mean()),
        level_name="recurrent",
    )


def _blocks(evidence: Evidence) -> list[Block]:
    made = []
    for data in evidence.analysed:
        every = series_of(data, evidence.of(data, "truncation"))
        if any(series.how != COUNTED for series in every):
            here = of_slice(data, [context_figure(data, every)], context_table(data, every))
            made.append(replace(here, introduction=" ".join(map(sentence, sentences(data, every)))))
    return made


SECTION = Section(
    "context",
    "Score against context",
    "Every model that sees the last k inputs alone, however it came to that, beside the recurrent ones.",
    _blocks,
    "context",
    ("C2", "C3", "C4"),
)
