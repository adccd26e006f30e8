"""Trained recurrent models that see the last k inputs alone: score and state gap against k, measured and proven."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stablernn.records.record import Record
from stablernn.report.curves import BEST_POSSIBLE, WORDS, coloured
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import describe_constraint, describe_run, on_each_side, over_seeds
from stablernn.report.load import STUDIES, Analyses, directions, setting
from stablernn.report.section import Section, of_analysis
from stablernn.report.statistics import FEWEST_BLOCKS, student
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import short
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

SHOWN = (1, 2, 3, 5, 10, 15, 20, 25, 35, 50, 65, 100)
EPSILON = 0.01
_ROUNDING, _NOISE = 3e-8, 1e-5  # of float32: what is below is not drawn; sums of such


def truncation_table(analyses: Analyses) -> Table:
    """A line for some k of one run, or the summary of several runs."""
    if len(analyses) > 1:
        return truncation_summary(analyses)
    ((record, result),) = analyses
    certified, optimal, metric = result["certified"], result["optimal"], record.metric.of_loss
    columns = [
        key("k"),
        Column(metric.name, f".{metric.places + 1}f"),
        *[Column("optimum", ".2f")] * bool(optimal),
        Column("nats", "+.5f"),
        *(Column(head, short) for head in ("largest gap", "gap ≤", "nats ≤")),
    ]
    entries: list[list[Entry]] = [
        [
            *(k, result["value"][at], *([optimal[at]] if optimal else []), result["loss_change"][at]),
            result["state"]["largest"][at],
            *(certified[name][at] if certified[name] else None for name in ("state", "nats")),
        ]
        for at, k in enumerate(result["k"])
        if k in SHOWN or k == result["k"][-1]
    ]
    last = ["all", result["recurrent"]["value"], *([result["optimal_whole_past"]] if optimal else [])]
    entries.append(last + [None] * (len(columns) - len(last)))
    notes = [
        f"the last k {metric.items} alone, on {result['count']:,} {result['options']['split']} {metric.items}; "
        f"all: the recurrent model; nats: change of the {metric.loss} against it; gap: ‖h - h⁽ᵏ⁾‖₂ over the positions",
        "≤: what is proven, for the gap and for any log-probability"
        if certified["nats"]
        else f"{'of the loss' if certified['state'] else 'nothing is proven'}: {certified['reason']}",
        *["optimum: exact, for any model that sees k words"] * bool(optimal),
        *too_short(analyses),
        *on_each_side([record]),
    ]
    title = f"Truncated after training: {describe_run(record)}, {describe_constraint(record)}"
    return Table(title, columns, entries, notes)


def truncation_summary(analyses: Analyses) -> Table:
    """A line for each model: means over its seeds, and the largest context that one of them needs."""
    options, metric = analyses[0][1]["options"], _metric(analyses)
    shown = [k for k in (2, 5, 10, 35) if k in analyses[0][1]["k"]]
    columns = [text("model"), text("stability"), key("seeds")]
    columns += [Column(head, f".{metric.places}f", unit=metric.name) for head in ("all", *(f"k={k}" for k in shown))]
    columns += [Column(head, unit=metric.items) for head in (f"k({EPSILON:g})", "proven")]
    entries: list[list[Entry]] = []
    cells = over_seeds(analyses)
    for model, stability, runs in cells:
        results = [result for _, result in runs]
        scores = [Value.mean([_on_all(record, result)[0] for record, result in runs])]
        scores += [Value(Value.mean([_at(record, result, k) for record, result in runs]).value) for k in shown]
        proven = all(result["certified"]["nats"] is not None for result in results)
        unproven = "not applicable" if all(result["certified"]["state"] for result in results) else "no"
        contexts = [_largest(measured_context, results), _largest(certified_context, results) if proven else unproven]
        entries.append([model, stability, len(runs), *scores, *contexts])
    items = " or ".join(f"{count:,}" for count in sorted({result["count"] for _, result in analyses}))
    whole = any(_on_all(record, result)[1] for record, result in analyses)
    where = f"all of {options['split']}" if whole else f"{items} {options['split']} {metric.items}"
    notes = [
        f"{metric.name} on {where}, mean over seeds; all: the recurrent model as trained, ± standard deviation; k=...: "
        f"the same weights, seeing the last k {metric.items} alone"
        + (f", by the change measured on {items} of them" if whole else ""),
        f"k({EPSILON:g}): from there on the {metric.loss} is measured to stay within {EPSILON:g} nats",
        "proven: from there on no log-probability can change by more (no: nothing is proven, or not of all seeds; not "
        "applicable: the loss can change without bound); both for the seed that needs most",
        *too_short(analyses),
        *on_each_side(record for record, _ in analyses),
    ]
    ids = [tuple(record.id for record, _ in runs) for _, _, runs in cells]
    return Table("Truncated after training", columns, entries, notes, runs=ids)


def _on_all(record: Record, result: dict[str, Any]) -> tuple[float, bool]:
    """The score of the recurrent model, and whether it is that of the run, on all of test.

    Runs may be looked into on stretches of different lengths, and their seeds are comparable on all of it alone. Where
    the run is scored otherwise (F1), the loss on the stretch stands.
    """
    whole = record.metric is record.metric.of_loss and result["options"]["split"] == "test"
    return (record.metrics["test"] if whole else result["recurrent"])["value"], whole


def _at(record: Record, result: dict[str, Any], k: int) -> float:
    """The score at k."""
    value, whole = _on_all(record, result)
    place = result["k"].index(k)
    return changed(record.metric, value, result["loss_change"][place]) if whole else result["value"][place]


def _largest(context: Callable[[dict[str, Any]], int | None], results: Sequence[dict[str, Any]]) -> int | str:
    """The context that the most demanding of several runs needs, or that it is beyond what was looked at."""
    return farthest([context(result) for result in results], max(result["k"][-1] for result in results))


def farthest(values: Sequence[int | None], most: int) -> int | str:
    """The largest of several seeds; or that one, None, is beyond all that was looked at."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else f"> {most}"


def measured_context(result: dict[str, Any], epsilon: float = EPSILON) -> int | None:
    """The least k from which on the change of the loss is at most ε nats; None beyond the largest k."""
    return _from_there_on(result, [abs(nats) <= epsilon for nats in result["loss_change"]])


def too_short(analyses: Analyses) -> list[str]:
    """A note where sequences are so short that a k of the table leaves most of their positions as they are."""
    most = min(informative_context(result) for _, result in analyses)
    if most >= min(result["k"][-1] for _, result in analyses):
        return []
    return [f"a k above {most} leaves most positions as they are, whatever the model (docs/protocol.md)"]


def informative_context(result: dict[str, Any]) -> int:
    """The largest k examined that cuts at least half of the positions: the others are the same whatever the model.

    Up to it the mean change at the positions that are cut is at most twice that of all.
    """
    return max((k for k, cut in zip(result["k"], result["cut"], strict=True) if 2 * cut >= result["count"]), default=0)


def has_errors(result: dict[str, Any]) -> bool:
    """Whether it is known how far other text may move the change: too short a text does not say."""
    error = result.get("error", {})
    return error.get("blocks", 0) >= FEWEST_BLOCKS and None not in error["loss_change"]


def assured_context(result: dict[str, Any], epsilon: float = EPSILON) -> int | None:
    """The same for the change's whole 95 % interval over other words; None beyond the largest k."""
    quantile = student(result["error"]["blocks"] - 1)
    both = zip(result["loss_change"], result["error"]["loss_change"], strict=True)
    return _from_there_on(result, [abs(nats) + quantile * error <= epsilon for nats, error in both])


def _from_there_on(result: dict[str, Any], within: Sequence[bool]) -> int | None:
    """The least k from which on all is within."""
    beyond = [k for k, one in zip(result["k"], within, strict=True) if not one]
    least = beyond[-1] + 1 if beyond else 1
    return least if least in result["k"] else None


def certified_context(result: dict[str, Any], epsilon: float = EPSILON) -> int | None:
    """The least k examined for which no log-probability can change by more than ε nats."""
    bounds = result["certified"]["nats"] or []
    return next((k for k, nats in zip(result["k"], bounds, strict=False) if nats <= epsilon), None)


# ---- figures


def truncation_figures(analyses: Analyses) -> list[Figure]:
    """Score and distance of the state."""
    return [figure for figure in (truncation_curves(analyses), state_gap(analyses)) if figure]


def truncation_curves(analyses: Analyses) -> Figure | None:
    """Score against k."""
    drawing, metric = Drawing(), _metric(analyses)
    for model, constraint, colour, record, result in coloured(analyses):
        ks, runs = result["k"], (record.id,)
        drawing.band(model, Curve(constraint, colour), with_interval(result, metric), runs)
        drawing.point(model, Curve(constraint, colour), ks[-1], result["recurrent"]["value"], runs)
    for model, _, _, record, result in coloured(analyses):
        if result["optimal"]:
            drawing.once(model, BEST_POSSIBLE, zip(result["k"], result["optimal"], strict=True), (record.id,))
    contexts = [measured_context(result) for _, result in analyses]
    reached = [k for k in contexts if k is not None]
    return drawing.figure(
        "truncation",
        f"{len(reached)} of {counted(len(contexts), 'model')} score the same by the last "
        f"{counted(max(reached, default=0), metric.one)} as by all of them",
        f"The same weights, seeing the last k {metric.items} alone; dots at the right: the recurrent model, which sees "
        f"all. The same: within {EPSILON:g} nats from there on. Band: 95 % interval of the change, over other text; "
        "of several seeds, their mean from the least to the largest.",
        _inputs(analyses),
        Axis(f"{split(analyses)} {metric.name}"),
    )


def with_interval(result: dict[str, Any], metric: Metric) -> list[tuple[float, float, float, float]]:
    """k, score, and the ends of the 95 % interval of its change against the recurrent model, where that is known."""
    known = has_errors(result)
    quantile = student(result["error"]["blocks"] - 1) if known else 0.0
    errors = result["error"]["loss_change"] if known else [0.0] * len(result["k"])

    return [
        (k, value, changed(metric, value, -quantile * error), changed(metric, value, quantile * error))
        for k, value, error in zip(result["k"], result["value"], errors, strict=True)
    ]


def changed(metric: Metric, value: float, nats: float) -> float:
    """A value after a change of the mean loss; ``of_mean`` is an exponential or a factor."""
    return value * metric.of_mean(nats) if metric.of_mean(0.0) else value + metric.of_mean(nats)


def state_gap(analyses: Analyses) -> Figure | None:
    """Measured distance of the state, and what is proven of it."""
    drawing = Drawing()
    for model, constraint, colour, record, result in coloured(analyses):
        units = directions(record) * setting(record, "model.hidden_size")
        any_two = 2 * math.sqrt(units)  # states in [-1, 1]^d are no farther apart
        bounds = [bound if bound < any_two else math.nan for bound in result["certified"]["state"] or []]
        lines = [(constraint, (1, 0), result["state"]["largest"]), (f"{constraint}, bound", (5, 3), bounds)]
        for name, dash, values in lines:
            seen = [(k, value) for k, value in zip(result["k"], values, strict=False) if value > _ROUNDING]
            if seen:
                drawing.line(model, Curve(name, colour, dash), seen, (record.id,))
    proven = [result for _, result in analyses if result["certified"]["state"]]
    both = [pair for one in proven for pair in zip(one["state"]["largest"], one["certified"]["state"], strict=False)]
    above = any(gap > bound + _NOISE for gap, bound in both)
    return drawing.figure(
        "state_gap",
        "A measured gap is above its proven bound" if above else "No measured gap of the state is above a proven bound",
        "The largest ‖h − h⁽ᵏ⁾‖₂ of all positions, measured, and dashed the proven bound where that is less than 2√d, "
        "which holds of any two states. Below some 10⁻⁶ it is rounding of float32.",
        _inputs(analyses),
        Axis("‖h − h⁽ᵏ⁾‖₂", powers=True),
    )


def _metric(analyses: Analyses) -> Metric:
    return analyses[0][0].metric.of_loss


def _inputs(analyses: Analyses) -> Axis:
    """The axis of k."""
    return replace(WORDS, title=WORDS.title.replace("words", _metric(analyses).items))


def split(analyses: Analyses) -> str:
    return analyses[0][1]["options"]["split"] if analyses else "test"


SECTION = Section(
    "truncation",
    "Truncated after training",
    "Trained recurrent models that may see the last k inputs alone.",
    of_analysis("truncation", truncation_summary, truncation_figures),
    "truncation",
    ("C2", "C4"),
    (*STUDIES, "truncation"),
)
