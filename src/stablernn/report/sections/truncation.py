"""Perplexity and state gap of trained recurrent models against the truncation length k."""

from collections.abc import Sequence
from typing import Any

from stablernn.report.difference import FEWEST_BLOCKS
from stablernn.report.judgement import student
from stablernn.report.labels import describe, describe_constraint, describe_run
from stablernn.report.load import Found
from stablernn.report.tables import Table, of_a_run

SHOWN = (1, 2, 3, 5, 10, 15, 20, 25, 35, 50, 65, 100)
EPSILON = 0.01


def truncation_table(found: Found) -> Table:
    """A line for some k of one run, or a line for each of several runs."""
    if len(found) > 1:
        return truncation_summary(found)
    ((record, result),) = found
    certified, optimal, metric = result["certified"], result["optimal"], record.metric.of_loss
    heads = ["k", metric.name, *["optimum"] * bool(optimal), "nats", "mean", "p99", "max", "gap ≤", "nats ≤"]
    lines = []
    for at, k in enumerate(result["k"]):
        if k in SHOWN or k == result["k"][-1]:
            lines.append(
                [
                    str(k),
                    f"{result['value'][at]:.{metric.places + 1}f}",
                    *([f"{optimal[at]:.2f}"] if optimal else []),
                    f"{result['log_perplexity'][at]:+.5f}",
                    *(short(result["state"][name][at]) for name in ("mean", "p99", "largest")),
                    short(certified["state"][at]) if certified["state"] else "–",
                    short(certified["nats"][at]) if certified["nats"] else "–",
                ]
            )
    line = ["all", f"{result['recurrent']['value']:.{metric.places + 1}f}"]
    line += [f"{result['optimal_whole_past']:.2f}"] if optimal else []
    lines.append(line + ["–"] * (len(heads) - len(line)))
    notes = [
        f"the last k {metric.items} alone, on {result['words']:,} {result['options']['split']} {metric.items}; "
        "all: the recurrent model",
        f"nats: change of the {metric.loss} against it",
        "mean, p99, max: of the gap ‖h - h⁽ᵏ⁾‖₂ over the positions (float32: some 1e-7 are rounding)",
        "≤: what is proven, for the gap and for any log-probability"
        if certified["nats"]
        else f"nothing is proven: {certified['reason']}",
        "optimum: exact, for any model that sees k words" if optimal else "",
    ]
    title = f"Truncated after training: {describe_run(record)}, {describe_constraint(record)}"
    return Table(title, heads, lines, [note for note in notes if note])


def truncation_summary(found: Found) -> Table:
    """A line for each run."""
    options, metric = found[0][1]["options"], found[0][0].metric.of_loss
    shown = [k for k in (2, 5, 10, 35) if k in found[0][1]["k"]]
    heads = ["model", "stability", "all", *(f"k={k}" for k in shown)]
    heads += [f"k({EPSILON:g})", "proven"]
    lines = []
    for names, (_, result) in zip(describe(found), found, strict=True):
        values = dict(zip(result["k"], result["value"], strict=True))
        line = [*names, f"{result['recurrent']['value']:.{metric.places}f}"]
        line += [f"{values[k]:.{metric.places}f}" for k in shown]
        line += [_or_more(k, result) for k in (measured_context(result), certified_context(result))]
        lines.append(line)
    words = " or ".join(f"{count:,}" for count in sorted({result["words"] for _, result in found}))
    notes = [
        f"{metric.name} on {words} {options['split']} {metric.items}; all: the recurrent model as trained; k=...: the "
        f"same weights, seeing the last k {metric.items} alone",
        f"k({EPSILON:g}): from there on the {metric.loss} is measured to stay within {EPSILON:g} nats",
        "proven: from there on no log-probability can change by more",
    ]
    return Table("Truncated after training", heads, lines, notes, runs=of_a_run([r for r, _ in found], heads))


def measured_context(result: dict[str, Any], epsilon: float = EPSILON) -> int | None:
    """The least k from which on the change of the log-perplexity is at most ε nats; None beyond the largest k."""
    return _from_there_on(result, [abs(nats) <= epsilon for nats in result["log_perplexity"]])


def has_errors(result: dict[str, Any]) -> bool:
    """Whether an analysis tells how far other text may move the change: an older one, or of a short text, does not."""
    error = result.get("error", {})
    return error.get("blocks", 0) >= FEWEST_BLOCKS and None not in error["log_perplexity"]


def assured_context(result: dict[str, Any], epsilon: float = EPSILON) -> int | None:
    """The same for the change's whole 95 % interval over other words; None beyond the largest k."""
    quantile = student(result["error"]["blocks"] - 1)
    both = zip(result["log_perplexity"], result["error"]["log_perplexity"], strict=True)
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


def _or_more(k: int | None, result: dict[str, Any]) -> str:
    return str(k) if k is not None else f"> {result['k'][-1]}"


def short(value: float) -> str:
    """Two digits, one where it is small."""
    if value == 0:
        return "0"
    return f"{value:.0e}" if value < 0.0095 or value >= 9999 else f"{value:.2g}" if value < 100 else f"{value:.0f}"
