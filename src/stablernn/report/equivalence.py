"""The rule of decision: is a model as good as another, by a margin that was fixed before the runs?

The difference of the means over seeds has Welch's interval, as seeds are no pairs: their effects do not correlate. Its
variance is added to that of a bootstrap over the test data, in which both models get the same stretches. *No loss*: the
upper end of the one-sided 95 % interval lies below the task's margin. *A loss*: its lower end lies above 0.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from stablernn.report.difference import blocks_of, stretches_of
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

LEVEL = 0.95
FEWEST_SEEDS = 3  # with fewer nothing is computed
_REQUIRED = ((15 * 60, 10), (2 * 3600, 6))  # seconds of training that a run takes less than, seeds a cell
_MOST_SEEDS = 1000


def seeds_required(runs: pd.DataFrame) -> int:
    """The seeds a cell that a verdict needs, by the median time of training of a task's runs.

    10 where a run takes minutes, 6 below two hours, else ``FEWEST_SEEDS``.
    """
    return next((seeds for limit, seeds in _REQUIRED if runs.seconds.median() < limit), FEWEST_SEEDS)


def format_seeds(seeds: int, required: int) -> str:
    """The number of seeds, and of how many where it is below the rule's or where the rule asks for few."""
    if seeds < required:
        return f"{seeds} of {counted(required, 'seed')}"
    return counted(seeds, "seed") + ", as a run takes hours" * (required <= FEWEST_SEEDS)


@dataclass(frozen=True)
class Comparison:
    """How much worse ``other`` is than ``base``, on the task's natural scale (nats or bits an item, F1 points).

    Attributes:
        mean: difference of the means over seeds, positive where ``other`` is worse.
        deviations: standard deviation over seeds of each.
        seeds: of each.
        text_variance: of ``mean`` over other test data; None: not known, so that seeds alone decide, which is said.
        margin: of the task.
        unit: of the scale.
        required: seeds of each that the rule asks for.
    """

    mean: float
    deviations: tuple[float, float]
    seeds: tuple[int, int]
    text_variance: float | None
    margin: float
    unit: str
    required: int = FEWEST_SEEDS

    def half(self, seeds: tuple[int, int] | None = None) -> float:
        """From the mean to an end of the one-sided interval, with these numbers of seeds or others."""
        parts = [deviation**2 / n for deviation, n in zip(self.deviations, seeds or self.seeds, strict=True)]
        spread = sum(parts)
        free = sum(part**2 / (n - 1) for part, n in zip(parts, seeds or self.seeds, strict=True))
        freedom = spread**2 / free if free else math.inf  # Welch & Satterthwaite
        return float(stats.t.ppf(LEVEL, freedom) if math.isfinite(freedom) else stats.norm.ppf(LEVEL)) * math.sqrt(
            spread + (self.text_variance or 0.0)
        )

    @property
    def interval(self) -> tuple[float, float]:
        """Both one-sided ends."""
        return self.mean - self.half(), self.mean + self.half()

    @property
    def verdict(self) -> str:
        """``no loss``, ``gain`` (no loss, and sure to be better), ``loss`` or ``undecided``."""
        low, high = self.interval
        if high < 0:
            return "gain"
        if high < self.margin:
            return "no loss"
        return "loss" if low > 0 else "undecided"

    @property
    def seeds_to_decide(self) -> int | None:
        """Seeds a cell with which this mean and these deviations would decide; None: no number would."""
        for n in range(2, _MOST_SEEDS):
            half = self.half((n, n))
            if self.mean + half < self.margin or self.mean - half > 0:
                return n
        return None

    def format_difference(self) -> str:
        """Mean ± what leads to the ends of the one-sided intervals."""
        return f"{self.mean:+.3f} ± {self.half():.3f}"

    def format_verdict(self, note: str = "") -> str:
        """The verdict with a note, and where it is undecided what would decide."""
        notes = [note] if note else []
        if self.text_variance is None:
            notes.append("by seeds alone: other test data might decide otherwise")
        if self.verdict == "undecided":
            more = self.seeds_to_decide
            notes.append(
                "no number of seeds decides" if more is None else f"{counted(more, 'seed')} a cell would decide"
            )
        return self.verdict + (f" ({'; '.join(notes)})" if notes else "")

    @property
    def words(self) -> str:
        """The verdict with its interval."""
        return f"{self.format_verdict()}: {self.format_difference()} {self.unit}"


def compare(base: pd.DataFrame, other: pd.DataFrame, required: int = FEWEST_SEEDS) -> Comparison | None:
    """Of finished runs of one task; None with fewer than ``FEWEST_SEEDS`` seeds on either side."""
    if min(len(base), len(other)) < FEWEST_SEEDS:
        return None
    metric = base.record.iloc[0].metric
    return Comparison(
        float(other.natural.mean() - base.natural.mean()),
        (float(base.natural.std()), float(other.natural.std())),
        (len(base), len(other)),
        _text_variance(base, other, metric),
        metric.margin,
        metric.scale_unit,
        required,
    )


def _text_variance(base: pd.DataFrame, other: pd.DataFrame, metric: Metric) -> float | None:
    """Of the difference of the means, by stretches of the test data that are drawn with replacement."""
    blocks = blocks_of([base.record, other.record])
    if blocks is None:
        return None
    counts, sides = blocks
    resampled = stretches_of(len(counts), alike=len(set(counts[:-1])) <= 1)
    if resampled is None:
        return None
    weights, stretches = resampled
    if metric.of_tally is None:
        totals = [np.mean([run["totals"] for run in side], axis=0) for side in sides]
        means = (weights @ (totals[1] - totals[0])) / (weights @ counts) * metric.scale
    elif all("tallies" in run for side in sides for run in side):
        values = [np.mean([metric.of_tally((weights @ run["tallies"]).T) for run in side], 0) for side in sides]
        means = values[1] - values[0]
    else:
        return None
    return float(means.var(ddof=1)) * stretches / (stretches - 1)
