"""The rule of decision: is a model as good as another, by a margin that was fixed before the runs?

The difference of the means over seeds has Welch's interval: seeds are no pairs, as their effects do not correlate. Its
variance is added to that of a bootstrap over the test data. *No loss*: the upper end of the one-sided 95 % interval
lies below the task's margin. *A loss*: its lower end lies above 0. The degrees of freedom are those of the seeds alone:
with few of them the interval is rather too wide.

The bootstrap says what these trained models would give on other text of the kind. Losses of neighbouring words are
alike, and so are those of one article: not words are drawn with replacement but stretches of text, several of the
blocks that a record keeps after each other, from anywhere and around the end (Politis & Romano 1992). Both models get
the same stretches: what makes a text hard for both cancels.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats  # of special, as a distribution of stats takes a thousand times as long to make

from stablernn.records.record import Record
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

LEVEL = 0.95
FEWEST_SEEDS = 3  # with fewer nothing is computed
FEWEST_BLOCKS = 8  # fewer do not tell how far blocks spread, and neither do fewer stretches
RULE = (
    "loss: mean of the constrained models minus that of the unstable ones on the task’s natural scale (of F1 the "
    "reverse) ± what leads to the ends of the one-sided 95 % intervals (Welch over seeds, its variance added to that "
    "of a bootstrap over the test data); verdict: gain where the upper end lies below 0, no loss where it lies below "
    "the margin, loss where the lower end lies above 0"
)
_REQUIRED = ((15 * 60, 10), (2 * 3600, 6))  # seconds of training that a run takes less than, seeds a cell
_MOST_SEEDS = 1000
_RESAMPLES = 2000
# Kept blocks that are drawn together where there are enough. Of 1,024 words each they are two articles of WikiText-2.
# On its test the standard error of stable against unstable LSTM (d = 200, one epoch) is 0.007 nats by single blocks,
# 0.011 by stretches of 4, 0.014 by 8 and 0.016 by 16.
_STRETCH = 8
_SEED = 0  # of the resamples: the same records make the same report


def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    return float(stats.t.ppf(0.975, freedom))


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % t interval of the mean; infinite for a single value."""
    return student(len(values) - 1) * float(stats.sem(values)) if len(values) > 1 else math.inf


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for how many they are (Holm 1979): below 0.05, the chance of any false one is at most 5 %."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.sort(p_values) * np.arange(len(p_values), 0, -1))
    return np.minimum(adjusted, 1.0).tolist()


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

    def _spread(self, seeds: tuple[int, int] | None = None) -> tuple[float, float]:
        """Standard error of the mean, and the degrees of freedom of Student's t that the mean has in units of it (Welch
        & Satterthwaite); infinite: it is normal."""
        parts = [deviation**2 / n for deviation, n in zip(self.deviations, seeds or self.seeds, strict=True)]
        free = sum(part**2 / (n - 1) for part, n in zip(parts, seeds or self.seeds, strict=True))
        error = math.sqrt(sum(parts) + (self.text_variance or 0.0))
        return error, sum(parts) ** 2 / free if free else math.inf

    def half(self, seeds: tuple[int, int] | None = None) -> float:
        """From the mean to an end of the one-sided interval, with these numbers of seeds or others."""
        error, freedom = self._spread(seeds)
        return float(special.stdtrit(freedom, LEVEL)) * error

    @property
    def p_loss(self) -> float:
        """Chance of a mean as large as this one or larger where there is no loss."""
        error, freedom = self._spread()
        return float(special.stdtr(freedom, -self.mean / error)) if error else float(self.mean <= 0)

    @property
    def p_gain(self) -> float:
        """Chance of a mean as small as this one or smaller where there is no gain."""
        error, freedom = self._spread()
        return float(special.stdtr(freedom, self.mean / error)) if error else float(self.mean >= 0)

    @property
    def p_no_loss(self) -> float:
        """Chance of a mean as small as this one or smaller where the loss is as large as the margin."""
        error, freedom = self._spread()
        distance = self.mean - self.margin
        return float(special.stdtr(freedom, distance / error)) if error else float(distance >= 0)

    @property
    def interval(self) -> tuple[float, float]:
        """Both one-sided ends."""
        half = self.half()
        return self.mean - half, self.mean + half

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


def difference(base: pd.DataFrame, other: pd.DataFrame) -> float | None:
    """Of the means over all seeds of each, on the natural scale, positive where ``other`` is worse."""
    return float(other.natural.mean() - base.natural.mean()) if len(base) and len(other) else None


def percent(nats: float | None) -> float | None:
    """What a difference of log-perplexity is of the perplexity."""
    return None if nats is None else 100 * math.expm1(nats)


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
    blocks = _blocks_of([base.record, other.record])
    if blocks is None:
        return None
    counts, sides = blocks
    resampled = _resamples(len(counts), alike=len(set(counts[:-1])) <= 1)
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
    # Drawing n of n stretches spreads like n - 1 of them; a whole number of them is not quite as long as the text.
    return float(means.var(ddof=1) * weights[0].sum()) / len(counts) * stretches / (stretches - 1)


def _blocks_of(sides: Sequence[Iterable[Record]]) -> tuple[np.ndarray, list[list[dict[str, Any]]]] | None:
    """Items of each block, and the blocks of all runs of each side; None unless all have blocks of the same items."""
    blocks = [[run.blocks for run in side if run.blocks] for side in sides]
    counts = {tuple(run["counts"]) for side in blocks for run in side}
    if len(counts) != 1 or [len(side) for side in blocks] != [len(list(side)) for side in sides]:
        return None
    return np.array(counts.pop()), blocks


def _resamples(count: int, alike: bool) -> tuple[np.ndarray, float] | None:
    """How often each of so many parts is in each resample, (R, count), and how many stretches the parts make.

    None for too few. Parts of a text are drawn in stretches; those that are not ``alike`` in length are sequences of
    their own, which are drawn one by one.
    """
    if count < FEWEST_BLOCKS:
        return None
    stretch = min(_STRETCH, count // FEWEST_BLOCKS) if alike else 1
    return _weights(count, stretch), count / stretch


@cache
def _weights(blocks: int, stretch: int) -> np.ndarray:
    """How often each block is in each resample, (R, blocks)."""
    generator = np.random.default_rng(_SEED)
    starts = generator.integers(blocks, size=(_RESAMPLES, round(blocks / stretch), 1))
    drawn = (starts + np.arange(stretch)) % blocks
    return np.stack([np.bincount(one.ravel(), minlength=blocks) for one in drawn]).astype(float)
