"""What the chapter on score against context says: when, why, and what context is worth; a computed sentence each."""

import math
from collections.abc import Sequence

from stablernn.report.baseline import shortfall
from stablernn.report.load import Analyses
from stablernn.report.names import MODEL_NAMES
from stablernn.report.sections.context_series import (
    BUILT,
    COUNTED,
    TRAINED,
    TRUNCATED,
    Series,
    best_recurrent,
)
from stablernn.report.slices import TITLES, Slice
from stablernn.report.text import span
from stablernn.utils.metrics import PERPLEXITY
from stablernn.utils.wording import counted

KINDS = {TRUNCATED: TRUNCATED, TRAINED: TRAINED, BUILT: "feed-forward by construction"}


def sentences(data: Slice, every: Sequence[Series], gradients: Analyses = ()) -> list[str]:
    """When, why, and what context is worth, without a full stop.

    Args:
        gradients: the analyses ``gradient_horizon`` of the recurrent models.
    """
    held = [series for series in every if series.how != COUNTED]
    return [_when(data, held), _why(data, held, gradients), _worth(data, held)]


def headline(data: Slice, every: Sequence[Series]) -> str:
    """The one message of the figure."""
    held = [series for series in every if series.how != COUNTED]
    items = data.metric.items
    own = [series for series in held if series.how == TRUNCATED and series.verdict]
    if ks := [series.enough.k for series in own if series.enough]:
        most, models = counted(max(ks), data.metric.one), counted(len(own), "recurrent model")
        return f"By the last {most} alone the loss of {len(ks)} of {models} is below the margin"
    if more := _beyond(own):
        return f"The recurrent models make use of more than the last {counted(more, data.metric.one)}"
    if all(series.shortfall for series in held):
        return "The models are worse than the baseline, so they say nothing about context"
    return f"How many {items} the models need is not decided"


def _when(data: Slice, held: Sequence[Series]) -> str:
    """At which k there is no loss, by kind: ranges and counts."""
    kinds = [text for how in KINDS if (text := _of_kind(data, how, held))]
    enough = [series for series in held if series.enough and series.enough.seeds < series.required]
    few = ""
    if enough:
        seeds = span([str(n) for n in sorted({series.enough.seeds for series in enough if series.enough})])
        few = f" (by {seeds} of the {counted(enough[0].required, 'seed')} that the rule asks for)"
    return f"when, on {TITLES.get(data.data, data.data)}, there is no loss: {'; '.join(kinds)}{few}"


def _of_kind(data: Slice, how: str, held: Sequence[Series]) -> str:
    there = [series for series in held if series.how == how]
    decided = [series for series in there if series.verdict]
    if not there:
        return ""
    if not decided:
        return f"{KINDS[how]}, of {counted(len(there), 'model')} nothing can be said yet"
    ks = sorted(series.enough.k for series in decided if series.enough)
    at = f"up to k = {_largest(decided)}"
    if ks:
        least = span([str(k) for k in (ks[0], ks[-1])])
        at = f"from k = {least} on" if how == TRUNCATED else f"at k = {least}"
    text = f"{KINDS[how]}, {len(ks) or 'none'} of {counted(len(decided), 'model')} {at}"
    losses = [_least_loss(series) for series in decided if series.verdict == "loss"]
    if losses:
        ends = span([f"{value:.{2 if data.metric.margin >= 0.01 else 3}f}" for value in (min(losses), max(losses))])
        text += f", {len(losses)} with a loss of {ends} {data.metric.scale_unit}"
    if open_ := sum(series.verdict == "undecided" for series in decided):
        text += f", {open_} undecided"
    if silent := len(there) - len(decided):
        text += f", of {silent} more nothing can be said yet"
    return text + (_beside_unstable(held, decided) if how == BUILT else "")


def _beside_unstable(held: Sequence[Series], built: Sequence[Series]) -> str:
    """Of networks without a constraint, against the best recurrent model without one; empty if that is the best."""
    free = [series for series in held if series.base.runs.stability.iloc[0] == "unstable"]
    if not free or best_recurrent(free).ids == best_recurrent(held).ids:
        return ""
    base = best_recurrent(free)
    if shortfall(held[0].data, base.ids):
        return ""
    against = [series.against(base) for series in built if series.stability == "unstable"]
    number, model = sum(series.enough is not None for series in against), str(base.runs.model.iloc[0])
    lost = sum(series.verdict == "loss" for series in against)
    return (
        f"; against the best recurrent model without a constraint ({MODEL_NAMES.get(model, model)}), "
        f"{number or 'none'} of {len(against)}" + (f" ({lost} with a loss)" if lost else "")
    )


def _least_loss(series: Series) -> float:
    """Of a truncated model at its largest k, of others at their best."""
    if series.how == TRUNCATED:
        return series.points[-1].change or 0.0
    return min(point.loss.mean for point in series.points if point.loss is not None)


def _largest(every: Sequence[Series]) -> int:
    return max(series.points[-1].k for series in every)


def _beyond(own: Sequence[Series]) -> int | None:
    """The largest k that is known to be too little for a truncated model."""
    return max((series.points[-1].k for series in own if series.verdict == "loss"), default=None)


def _why(data: Slice, held: Sequence[Series], gradients: Analyses) -> str:
    """What gradients and counts make of the inputs farther back."""
    reasons = [_by_gradients(data, held, gradients), _by_counts(data)]
    return f"why: {'; '.join(filter(None, reasons)) or 'no gradients were measured, and there are no counts'}"


def _by_gradients(data: Slice, held: Sequence[Series], gradients: Analyses) -> str:
    ids = {run for series in held for run in series.base.ids}
    here = [result for record, result in gradients if record.id in ids and "best" in result["stages"]]
    if not here:
        return ""
    fallen = sorted(back for result in here if (back := result["stages"]["best"]["fallen"]) is not None)
    horizon, items = max(result["options"]["horizon"] for result in here), data.metric.items
    if not fallen:
        return f"the gradients of {counted(len(here), 'run')} reach more than {horizon} {items} back"
    ends = span([str(back) for back in (fallen[0], fallen[-1])])
    rest = len(here) - len(fallen)
    return f"the gradient of the loss is down to a thousandth {ends} {items} back" + (
        f" (in {len(fallen)} of {counted(len(here), 'run')}; in the others farther than {horizon})" if rest else ""
    )


def _by_counts(data: Slice) -> str:
    """Whether n-gram models still gain by their last words of context."""
    if len(data.baseline) < 2:
        return ""
    (before, worse), (order, better) = sorted(data.baseline.items())[-2:]
    metric, gain = data.metric, _gain(data, worse, better)
    flat = "no longer gain" if gain < metric.margin else "still gain"
    return (
        f"n-gram models {flat} by more context ({gain:+.3f} {metric.scale_unit} from k = {before - 1} to {order - 1}, "
        f"margin {metric.margin:g})"
    )


def _gain(data: Slice, worse: float, better: float) -> float:
    """On the natural scale of the task."""
    return math.log(worse / better) if data.metric is PERPLEXITY else data.metric.cost(worse) - data.metric.cost(better)


def _worth(data: Slice, held: Sequence[Series]) -> str:
    """What the best model of each kind gains of what the best recurrent one does, both over the baseline.

    Best on validation; the gains are test scores on the natural scale, so of log-perplexity.
    """
    if data.best_baseline is None:
        return "what context is worth is not known, as there is no baseline"
    baseline, bar = data.best_baseline
    whole = _gain(data, bar, float(best_recurrent(held).finished.test.mean()))
    if whole < data.metric.margin:
        return (
            f"no recurrent model beats the baseline ({baseline}) by the margin, so what context is worth is not known"
        )
    shares = []
    for how, name in KINDS.items():
        if there := [series for series in held if series.how == how]:
            best = min(there, key=lambda series: series.validated)
            point = best.enough or best.best
            share = f"{100 * _gain(data, bar, point.mean) / whole:.0f} %"
            shares.append(f"{share} is left {name} ({best.short}, k = {point.k})")
    return f"of what the best recurrent model gains over the baseline ({baseline}), {', '.join(shares)}"
