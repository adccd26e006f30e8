"""Score against context k of all models that see k inputs, beside the recurrent models which see all."""

import re
from collections.abc import Sequence
from dataclasses import replace

from stablernn.report.curves import DASHES, DOTTED, WORDS, mean_over_seeds
from stablernn.report.evidence import Evidence
from stablernn.report.figure import MOST, Axis, Curve, Drawing, Figure, Level
from stablernn.report.frame import distinguish, frame
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.palette import OTHERS
from stablernn.report.replicates import Replicates
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.sections.context_answer import headline, sentences
from stablernn.report.sections.context_series import (
    BUILT,
    COUNTED,
    TRAINED,
    TRUNCATED,
    Point,
    Series,
    best_recurrent,
    names_of,
    series_of,
)
from stablernn.report.sections.truncation import changed
from stablernn.report.slices import Slice
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import sentence

_MATCHED = 0.1  # parameters
_ORDER = (TRUNCATED, TRAINED, BUILT, COUNTED)


# ---- table


def context_table(data: Slice, every: Sequence[Series]) -> Table:
    """A line for each series at the k that matter, by kind; at the end a line for each that the baseline beats.

    Of a model that is truncated after training, k is the least from which on there is no loss (where seeds decide
    nothing: no change above the margin), or else the largest.
    """
    in_order = sorted(every, key=lambda series: (series.shortfall is not None, _ORDER.index(series.how)))
    bases = _names_of_bases(data, every)
    lines = [
        (series, points)
        for series in in_order
        for points in ([series.shown] if series.shortfall else [[point] for point in series.shown])
    ]
    metric = data.metric
    columns = [
        *(text("model"), text("constraint"), text("context")),
        key("k", unit=metric.items),
        Column("parameters", ",d", drop=2),
        Column("matched"),
        Column(metric.name, f".{metric.places}f"),
        Column("seeds"),
        text("against", drop=1),
        Column("recurrent", f".{metric.places}f", f"{metric.name} of the recurrent model"),
        Column("loss", "+.3f", spread="to the ends of the one-sided 95 % intervals", unit=metric.scale_unit),
        text("verdict"),
    ]
    notes = [
        f"test {metric.title}, mean ± standard deviation over seeds",
        "against: the recurrent model of the same name and constraint, or else the best one on validation; "
        "recurrent: of what was truncated after training the same seeds; loss: ± to "
        f"the ends of the one-sided 95 % intervals, margin {metric.margin:g} {metric.scale_unit}",
        f"matched: parameters within {100 * _MATCHED:g} % of that model’s, or how many times as many",
        "how each k is chosen: docs/peers.md",
        data.devices,
    ]
    entries = [_entries(series, points, bases) for series, points in lines]
    runs = [_runs(series, points) for series, points in lines]
    return Table(f"Score against context on {data.caption}", columns, entries, notes, runs=runs)


def _entries(series: Series, points: Sequence[Point], bases: dict[tuple[str, ...], str]) -> list[Entry]:
    """A line of one point, or of several from the least to the largest."""
    model = MODEL_NAMES.get(series.model, series.model)
    matched = dict.fromkeys(filter(None, (_matched(point, series.base) for point in points)))
    first, counts = points[0], series.how == COUNTED
    line: list[Entry] = [
        *(model, series.constraint or None, series.how, Value(first.k, to=points[-1].k)),
        _span([point.parameters for point in points]),
        ", ".join(matched) or None,
        first.score if len(points) == 1 else _span([point.mean for point in points]),
        _span([point.seeds or None for point in points]),
    ]
    if counts:
        return [*line, None, None, None, series.says(first)]
    base, loss = series.base, first.loss if len(points) == 1 else None
    own = base.runs.model.iloc[0] == series.model and series.how != BUILT
    named = bases[base.ids]
    against = "the same" + named[len(_plain_name(named)) :] if own else named
    changes = [point.change if point.loss is None else point.loss.mean for point in points]
    return [
        *line,
        against,
        replace(series.beside.mean, seeds=len(series.beside.finished)),
        Value(loss.mean, loss.half()) if loss else _span(changes),
        series.says(first),
    ]


def _runs(series: Series, points: Sequence[Point]) -> tuple[str, ...]:
    own = [run for point in points for run in point.score.runs or ()]
    return tuple(dict.fromkeys([*own, *(() if series.how == COUNTED else series.base.ids)]))


def _span(values: Sequence[int | float | None]) -> Value | None:
    known = [value for value in values if value is not None]
    return Value(min(known), to=max(known)) if known else None


def _names_of_bases(data: Slice, every: Sequence[Series]) -> dict[tuple[str, ...], str]:
    """Of the recurrent models that series are held against, with the settings in which two of a name differ."""
    bases = {series.base.first.id: series.base for series in every if series.how != COUNTED}
    if not bases:
        return {}
    firsts, names = frame(base.first for base in bases.values()), dict(zip(data.runs.id, data.runs.name, strict=True))
    made = {}
    for name, note in zip(firsts.id, distinguish(firsts, "settings", ["model", "constraint"]), strict=True):
        model, constraint, _ = names_of(bases[name], names)
        note = ", ".join(dict.fromkeys(re.sub(r"[\w.]*\.(\w+)=", r"\1=", note).split(", "))) if note else ""
        made[bases[name].ids] = f"{MODEL_NAMES.get(model, model)} {constraint}" + (f" [{note}]" if note else "")
    return made


def _plain_name(named: str) -> str:
    return named.partition(" [")[0]


def _matched(point: Point, base: Replicates) -> str | None:
    there = base.first.model.get("parameters")
    if not point.parameters or not there:
        return None
    ratio = point.parameters / there
    return "yes" if abs(ratio - 1) <= _MATCHED else f"{ratio:.2g} times"


# ---- figure


def drawn(every: Sequence[Series], built: bool) -> list[Series]:
    """The series of a panel, ``MOST`` at most: n-gram models, and the best ones of each kind.

    Of recurrent models those under the study's constraints, of the same cell where there are such, else the best one;
    or else the networks that are feed-forward by construction, ``built``, one of each name.
    """
    here = [series for series in every if series.how != COUNTED and built == (series.how == BUILT)]
    cell = next((series.model for series in here if series.stability in STABILITIES), "")
    shown: dict[tuple[str, str], Series] = {}
    for series in sorted(here, key=lambda series: not built and series.model != cell):
        own = series.model if built else series.stability if series.stability in STABILITIES else ""
        shown.setdefault((series.how, own), series)
    studied = {how for how, own in shown if own}
    chosen = [series for (how, own), series in shown.items() if own or how not in studied]
    counts = [series for series in every if series.how == COUNTED]
    return [*counts, *chosen][:MOST] if chosen else []


def context_figure(data: Slice, every: Sequence[Series]) -> Figure | None:
    """Score against k, recurrent models and networks without recurrence side by side, and rules for what sees all."""
    drawing, metric, held = Drawing(), data.metric, [series for series in every if series.how != COUNTED]
    panels = {"Recurrent": drawn(every, built=False), "Feed-forward by construction": drawn(every, built=True)}
    free, colours = [*OTHERS], {}
    levels: dict[tuple | str, Level] = {}
    for panel, shown in panels.items():
        for series in shown:
            kind = series.model, series.constraint, series.how == BUILT
            if kind not in colours:
                own = series.stability if series.stability in STABILITIES and series.how != BUILT else ""
                own = "ink" if series.how == COUNTED else own
                colours[kind] = own if own not in ("", *colours.values()) else free.pop(0)
            dash = {TRAINED: DASHES["feedforward"], COUNTED: DOTTED}.get(series.how, (1, 0))
            _draw(drawing, panel, Curve(series.label, colours[kind], dash), series)
            if series.how in (TRUNCATED, TRAINED):
                levels.setdefault(kind, Level(_score(series.base), f"{series.short}, recurrent", colours[kind]))
    best, names = best_recurrent(held), _names_of_bases(data, every)
    if _score(best) not in [level.value for level in levels.values()]:
        levels["best"] = Level(_score(best), f"{_plain_name(names[best.ids])}, recurrent (best)")
    if not data.baseline and data.best_baseline:
        levels["baseline"] = Level(data.best_baseline[1], f"baseline: {data.best_baseline[0]}", dash=DOTTED)
    left = len(every) - len({series.label for shown in panels.values() for series in shown})
    return drawing.figure(
        "context",
        headline(data, every),
        f"{data.caption}: test {metric.title} by the last k {metric.items} alone. Lines: truncated after training, "
        "from the least to the largest of the seeds. Dots: trained with k (hollow), feed-forward by construction "
        "(filled), mean and deviation. Rules: recurrent. "
        f"Dotted: {'n-gram models' if data.baseline else 'the baseline'}."
        + (f" {left} more in the table." if left else ""),
        Axis(WORDS.title.replace("words", metric.items), ticks=WORDS.ticks),
        Axis(f"test {metric.name}"),
        levels=list(levels.values()),
    )


def _score(cell: Replicates) -> float:
    return float(cell.finished.test.mean())


def _draw(drawing: Drawing, panel: str, curve: Curve, series: Series) -> None:
    """A line a seed where one was truncated, a line of scores of counts, or a dot a k."""
    metric = series.data.metric
    for record, result in series.analyses:
        test = record.metrics["test"]["value"]
        changes = zip(result["k"], result["loss_change"], strict=True)
        drawing.line(panel, curve, ((k, changed(metric, test, nats)) for k, nats in changes), (record.id,))
    if series.how == COUNTED:
        drawing.line(panel, curve, ((point.k, point.mean) for point in series.points), ())
    for point in series.points if not series.analyses else ():
        if point.cell is not None:
            mean_over_seeds(drawing, panel, curve, point.k, point.cell)


def _blocks(evidence: Evidence) -> list[Block]:
    made = []
    for data in evidence.analysed:
        analyses = evidence.of(data, "truncation")
        # Without a curve there is one network of one size, which sees all of the sequence.
        every = [] if data.synthetic and not analyses else series_of(data, analyses)
        if any(series.how != COUNTED for series in every):
            gradients = evidence.of(data, "gradient_horizon")
            here = of_slice(data, [context_figure(data, every)], context_table(data, every))
            made.append(replace(here, introduction=[*filter(None, map(sentence, sentences(data, every, gradients)))]))
    return made


SECTION = Section(
    "context",
    "Score against context",
    "Every model that sees the last k inputs alone, however it came to that, beside the recurrent ones.",
    _blocks,
    "context",
    ("C2", "C3", "C4"),
)
