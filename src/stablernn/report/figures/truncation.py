"""Trained recurrent models that see the last k words alone: perplexity, distance of the state, and as n-grams."""

import math
from dataclasses import replace
from typing import Any

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.shared import BEST_POSSIBLE, WORDS, coloured
from stablernn.report.load import Found, setting
from stablernn.report.sections.ngram import reset_perplexities
from stablernn.utils.metrics import Metric

_N_MAX = 35
_ROUNDING = 3e-8  # of float32: what is below is not shown


def truncation_figures(found: Found) -> list[Figure]:
    """Perplexity and distance of the state."""
    return [figure for figure in (truncation_curves(found), state_gap(found)) if figure]


def truncation_curves(found: Found) -> Figure | None:
    """Perplexity against k."""
    drawing = Drawing()
    for model, constraint, colour, record, result in coloured(found):
        ks, runs = result["k"], (record.id,)
        name = f"{constraint}, last k {record.metric.items}"
        drawing.line(model, Curve(name, colour), zip(ks, result["value"], strict=True), runs)
        recurrent = Curve(f"{constraint}, recurrent", colour, (2, 3))
        drawing.line(model, recurrent, _level(result, ks[-1]), runs)
    for model, _, _, record, result in coloured(found):
        if result["optimal"]:
            drawing.once(model, BEST_POSSIBLE, zip(result["k"], result["optimal"], strict=True), (record.id,))
    return drawing.figure(
        "truncation",
        "Truncated after training",
        f"The same weights, seeing the last k {_metric(found).items} alone, against the recurrent model that sees all "
        "of them.",
        _inputs(found),
        Axis(f"{_split(found)} {_metric(found).name}"),
    )


def _metric(found: Found) -> Metric:
    return found[0][0].metric


def _inputs(found: Found) -> Axis:
    """The axis of k."""
    return replace(WORDS, title=WORDS.title.replace("words", _metric(found).items))


def state_gap(found: Found) -> Figure | None:
    """Measured distance of the state, and what is proven of it."""
    drawing = Drawing()
    for model, constraint, colour, record, result in coloured(found):
        any_two = 2 * math.sqrt(setting(record, "model.hidden_size"))  # states in [-1, 1]^d are no farther apart
        bounds = [bound if bound < any_two else math.nan for bound in result["certified"]["state"] or []]
        lines = [
            ("mean gap", (1, 0), result["state"]["mean"]),
            ("largest gap", (5, 3), result["state"]["largest"]),
            ("proven bound", (9, 3, 2, 3), bounds),
        ]
        for told, dash, values in lines:
            seen = [(k, value) for k, value in zip(result["k"], values, strict=False) if value > _ROUNDING]
            if seen:
                drawing.line(model, Curve(f"{constraint}, {told}", colour, dash), seen, (record.id,))
    return drawing.figure(
        "state_gap",
        "How far the truncated state is off",
        "‖h − h⁽ᵏ⁾‖₂ over all positions, measured, and under the proven bound where that is less than 2√d, which holds "
        "of any two states. Below some 10⁻⁶ it is rounding of float32.",
        _inputs(found),
        Axis("‖h − h⁽ᵏ⁾‖₂", powers=True),
    )


def ngram_figures(found: Found) -> list[Figure]:
    """The same models as n-grams."""
    return [figure for figure in (ngram_curves(found),) if figure]


def ngram_curves(found: Found) -> Figure | None:
    """Perplexity against n."""
    drawing = Drawing()
    for model, constraint, colour, record, result in coloured(found):
        reset, runs = reset_perplexities(result)[:_N_MAX], (record.id,)
        ngram = result["value"][: len(reset) - 1]
        last = max(len(reset), 2)
        drawing.line(model, Curve(f"{constraint}, reset every n words", colour), enumerate(reset, 1), runs)
        drawing.line(model, Curve(f"{constraint}, last n − 1 words", colour, (5, 3)), enumerate(ngram, 2), runs)
        recurrent = Curve(f"{constraint}, recurrent", colour, (2, 3))
        drawing.line(model, recurrent, _level(result, last), runs)
    return drawing.figure(
        "ngram",
        "As an n-gram",
        "The same weights with n − 1 words of context, and with their state set to zero every n words.",
        Axis("n (words)", logarithmic=False),
        Axis(f"{_split(found)} perplexity"),
    )


def _level(result: dict[str, Any], end: int) -> list[tuple[float, float]]:
    """The recurrent model, which sees all words, from 1 to ``end``."""
    return [(1, result["recurrent"]["value"]), (end, result["recurrent"]["value"])]


def _split(found: Found) -> str:
    return found[0][1]["options"]["split"] if found else "test"
