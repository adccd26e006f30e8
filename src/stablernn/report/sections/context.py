"""Score against context k of all models that see k inputs, beside the recurrent models which see all."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from stablernn.report.curves import DASHES, DOTTED, WORDS, mean_over_seeds
from stablernn.report.evidence import Evidence
from stablernn.report.figure import MOST, Axis, Curve, Drawing, Figure
from stablernn.report.load import setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.palette import OTHERS
from stablernn.report.replicates import Replicates
from stablernn.report.section import Block, Section, of_slice
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
from stablernn.report.slices import TITLES, Slice, gradient_note
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import sentence
from stablernn.utils.wording import counted

_MATCHED = 0.1  # parameters


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
            f"why: {len(ks)} of {counted(len(own), 'recurrent model')} lose less than the margin of "
            f"{data.metric.margin:g} {data.metric.scale_unit} once they forget all but the last "
            f"{counted(max(ks), data.metric.one)}"
        )
    if more := [series.points[-1].k for series in own if series.verdict == "loss"]:
        return f"why not: the recurrent models make use of more than the last {counted(max(more), data.metric.one)}"
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


# ---- table and figure


def context_table(data: Slice, every: Sequence[Series]) -> Table:
    """A line for each recurrent model that others are held against, and for each series at the k that matter."""
    entries: list[list[Entry]] = []
    runs: list[tuple[str, ...]] = []
    bases = {series.base.ids: series for series in every if series.how != COUNTED}
    for base in (series.base for series in bases.values()):
        model, constraint, _ = names_of(base, dict(zip(data.runs.id, data.runs.name, strict=True)))
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
        "constraint, or else the best one, over all seeds of each, ± what leads to the ends of the one-sided 95 % "
        f"intervals; by the rule of decision (margin {metric.margin:g} {metric.scale_unit})",
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
        f"{len(enough)} of {counted(len(held), 'model')} are within the margin by k {metric.items}{_by_few(enough)}",
        f"{data.caption}: test {metric.title} by the last k {metric.items} alone. Lines: recurrent models truncated "
        "after training; dots: trained with k, mean and standard deviation over seeds; dotted: n-gram models. Rule: "
        f"the best recurrent model ({MODEL_NAMES.get(model, model)})."
        + (f" The best of each kind, at most {MOST}; {left} more in the table." if left else ""),
        Axis(WORDS.title.replace("words", metric.items), ticks=WORDS.ticks),
        Axis(f"test {metric.name}"),
        level=float(best.finished.test.mean()),
        level_name="best recurrent",
    )


def _by_few(enough: Sequence[Series]) -> str:
    """That the rule of decision asks for more seeds, where it does."""
    few = [series for series in enough if series.enough and series.enough.seeds < series.required]
    if not few:
        return ""
    least = min(series.enough.seeds for series in few if series.enough)
    return f", {len(few)} of them by few seeds ({least} of {few[0].required})"


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
