"""What backpropagation through time loses when it stops after k inputs."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from stablernn.report.curves import DASHES, DOTTED
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import over_seeds
from stablernn.report.load import Analyses
from stablernn.report.sections.contraction import STAGE_NAMES
from stablernn.report.sections.gradient_horizon import panels
from stablernn.report.table import Column, Entry, Table, key, text
from stablernn.report.text import short
from stablernn.utils.wording import counted

SHOWN = (1, 5, 10, 35)
SMALL = 0.01  # of the full gradient
_LEAST, _MOST = 1e-12, 10.0  # what is drawn: a bound far above 1 says nothing, and would press the curves flat

_CURVES = {
    "cut": Curve("gradient cut after k inputs", "stable"),
    "feedforward": Curve("feed-forward model of k inputs", "unstable", DASHES["feedforward"]),
    "bound": Curve("bound of the cut", "ink", DOTTED),
}


def truncated_gradient_table(analyses: Analyses) -> Table:
    """A line for each model before training and at its best evaluation, means over its seeds."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    stages = [stage for _, result in analyses for stage in result["stages"].values()]
    cuts = [k for k in SHOWN if all(k < len(stage["cut"]) for stage in stages)]
    forwards = [k for k in SHOWN if all(str(k) in stage["feedforward"] for stage in stages)]
    columns = [
        *(text("model"), text("stability"), text("weights"), key("seeds")),
        *(Column(f"cut k={k}", short) for k in cuts),
        Column("1 % at k =", unit=metric.items),
        Column("bound: 1 % at k =", ",d", unit=metric.items),
        *(Column(f"feed-forward k={k}", short) for k in forwards),
    ]
    entries: list[list[Entry]] = []
    runs = []
    for model, stability, group in over_seeds(analyses):
        for stage in ("initial", "best"):
            seen = [_of(result, stage) for _, result in group]
            reached = [_first(values["cut"]) for values in seen]
            proven = [k for values in seen if (k := _proven(values)) is not None]
            entries.append(
                [
                    *(model, stability, STAGE_NAMES[stage], len(seen)),
                    *(fmean(values["cut"][k] for values in seen) for k in cuts),
                    f"> {options['horizon'] // 2}" if None in reached else max(k for k in reached if k is not None),
                    max(proven) if len(proven) == len(seen) else None,
                    *(fmean(values["feedforward"][str(k)] for values in seen) for k in forwards),
                ]
            )
            runs.append(tuple(record.id for record, _ in group))
    notes = [
        f"distance from the full gradient ({counted(options['horizon'], metric.one)} back) by all weights of the "
        f"cells, as a share of its norm; of a mini-batch of {counted(options['streams'], 'position')} of "
        f"{options['split']}, mean over seeds",
        "cut: backpropagation stops after k inputs, with the true state; feed-forward: the state, too, is that of the "
        "last k inputs alone",
        "1 %: the least k from which on the cut gradient is within a hundredth of the full one (looked for up to half "
        "of its length), and from which on that is proven by λ; the farthest of the seeds; –: nothing is proven of the "
        "model, or no such bound is derived (for a GRU and for stacks)",
    ]
    return Table("Truncated gradients", columns, entries, notes, runs=runs, name="truncated_gradient")


def _of(result: dict[str, Any], stage: str) -> dict[str, Any]:
    return result["stages"][stage]


def _first(shares: Sequence[float]) -> int | None:
    """The least k from which on all are small, in the first half of the horizon; None: none is.

    Near the horizon little is left out of a gradient that itself ends there.
    """
    half = shares[: len(shares) // 2 + 1]
    above = [k for k, share in enumerate(half) if share > SMALL]
    k = above[-1] + 1 if above else 0
    return k if k < len(half) else None


def _proven(values: dict[str, Any]) -> int | None:
    """The least k for which the bound is small; None: there is no bound."""
    if not values["bound"]:
        return None
    first, rate = values["bound"][0], values["rate"]
    if first <= SMALL or not rate:
        return int(first > SMALL)
    if not math.isfinite(first) or rate >= 1:  # a bound that says nothing
        return None
    return math.ceil(math.log(SMALL / first) / math.log(rate))


def truncated_gradient_figures(analyses: Analyses) -> list[Figure | None]:
    """The bias at the best evaluation against k, a panel for each model and constraint."""
    drawing = Drawing()
    drawing.announce(_CURVES.values())
    for title, group in panels(analyses).items():
        for record, result in group:
            values = _of(result, "best")
            lines = {
                "cut": list(enumerate(values["cut"])),
                "feedforward": sorted((int(k), share) for k, share in values["feedforward"].items()),
                "bound": list(enumerate(values["bound"] or ())),
            }
            for name, points in lines.items():
                shown = [(k, share) for k, share in points if k and _LEAST < share < _MOST]
                drawing.line(title, _CURVES[name], shown, (record.id,))
    metric = analyses[0][0].metric
    reached = [_first(_of(result, "best")["cut"]) for _, result in analyses]
    within = sum(k is not None and k <= SHOWN[-1] for k in reached)
    figure = drawing.figure(
        "truncated_gradient",
        f"{counted(SHOWN[-1], metric.one)} back, the gradient of {within} of "
        f"{counted(len(reached), 'trained model')} is within 1 % of the full one",
        "Distance of truncated gradients from the full one, as a share of its norm, at the best evaluation; of several "
        f"seeds the mean, in a band from the least. Bounds above {_MOST:g} are not drawn.",
        Axis(f"k ({metric.items})", logarithmic=False),
        Axis("share of the full gradient", powers=True),
    )
    return [figure]
