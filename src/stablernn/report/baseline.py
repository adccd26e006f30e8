"""Whether a model is worse than the baseline of its task: the one test of it, made of means over seeds.

A model that does no better than one that knows next to nothing of the past says nothing about memory.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stablernn.report.frame import select
from stablernn.report.slices import Slice
from stablernn.utils.metrics import Metric


@dataclass(frozen=True)
class Shortfall:
    """That a model is worse than the baseline.

    Attributes:
        cut: training of all its runs was ended before validation stopped improving, and as much again would do: at
            the pace of the last quarter it comes to the baseline.
        model: the name of its constraint, where those of several were compared; else empty.
        scores: its score and that of the baseline, in words.
    """

    cut: bool
    model: str
    scores: str

    @property
    def label(self) -> str:
        """More training is asked for only where there is a sign that it would change anything."""
        return f"{self.model} {'not trained far enough' if self.cut else 'worse than its baseline'}".lstrip()

    @property
    def words(self) -> str:
        """Label and scores."""
        return f"{self.label}, {self.scores}"


def shortfall(data: Slice, ids: Collection[str]) -> Shortfall | None:
    """Of the models that some runs are of; None where none is worse, or no baseline is known.

    A model counts with all its seeds, also where ``ids`` names but one of them. Of one constraint the best of several
    k, settings and approximations counts; of several constraints the worst.
    """
    if data.best_baseline is None:
        return None
    (baseline, bar), metric, runs = data.best_baseline, data.metric, data.replicates(ids)
    if runs.empty:
        return None
    means = runs.test.map(metric.cost).groupby([runs.model, runs.constraint, runs.cell]).mean()
    best = means[means.groupby(level=[0, 1]).idxmin()]
    if best.max() <= metric.cost(bar):
        return None
    worst = select(runs, runs.cell == best.idxmax()[-1])
    reached, places = worst.test.mean(), metric.places
    return Shortfall(
        all(run.cut for run in worst.record) and _within_reach(worst, metric, bar),
        worst.stability.iloc[0] if len(best) > 1 else "",
        f"{reached:.{places}f} against {bar:.{places}f} ({baseline})",
    )


def _within_reach(runs: pd.DataFrame, metric: Metric, bar: float) -> bool:
    """Whether a model would come to a score within as much training again, or nothing tells that it would not."""
    gained = [run.gained_late for run in runs.record]
    return None in gained or bool(metric.gain(runs.test.mean(), bar) <= 4 * np.mean(gained))
