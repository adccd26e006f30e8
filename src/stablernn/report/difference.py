"""A difference of perplexity between runs of the same seed, and its two uncertainties: other seeds, other text.

*Over seeds*: what other trainings would give on this text. The runs of a seed share their initial weights and the order
of their words, so their difference is one value, and Student's t is the interval of the mean of a few.

*Over test words*: what these trained models would give on other text of the kind. Losses of neighbouring words are
alike, and so are those of one article: not words are drawn with replacement but stretches of text, several of the
blocks that a record keeps after each other, from anywhere and around the end (Politis & Romano 1992). Both models of a
pair, and all seeds, get the same stretches: what makes a text hard for both cancels. The interval is Student's t times
the bootstrap's standard error (Efron & Tibshirani 1993, chapters 6 and 12), which unlike percentiles stays wide enough
where the stretches are few.

*Over both*: the square root of the sum of the squares of the two halves (Howe 1974), so that neither source can hide
the other. To resample three seeds instead would give too narrow an interval: it divides by n where n - 1 is right and
knows no t. How a text favours one training over another counts in both parts, which errs towards a wider interval.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from stablernn.records.record import Record
from stablernn.report.data import Replicates
from stablernn.report.table import Value
from stablernn.utils.wording import counted

RESAMPLES = 2000
FEWEST_BLOCKS = 8  # fewer do not tell how far blocks spread, and neither do fewer stretches
# Kept blocks that are drawn together where there are enough. Of 1,024 words each they are two articles of WikiText-2.
# On its test the standard error of stable against unstable LSTM (d = 200, one epoch) is 0.007 nats by single blocks,
# 0.011 by stretches of 4, 0.014 by 8 and 0.016 by 16.
_STRETCH = 8
_SEED = 0  # of the resamples: the same records make the same report

Change = Callable[[Any, Any], Any]  # of a base perplexity to another, for numbers and for arrays


def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    return float(stats.t.ppf(0.975, freedom))


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % t interval of the mean; infinite for a single value."""
    return student(len(values) - 1) * float(stats.sem(values)) if len(values) > 1 else math.inf


@dataclass(frozen=True)
class Difference:
    """How far one kind of run is from another.

    Attributes:
        values: a seed each.
        over_words: half of the 95 % interval of their mean over other test words; None where it is not known.
        words: the stretches of text that it rests on, or why there are none.
    """

    values: tuple[float, ...]
    over_words: float | None
    words: str

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def over_seeds(self) -> float:
        """Half of the 95 % interval over other seeds; infinite for one."""
        return half_width(self.values)

    @property
    def half(self) -> float:
        """Half of the 95 % interval over all sources that are known."""
        return math.hypot(self.over_seeds, self.over_words or 0.0)

    @property
    def places(self) -> int:
        """Decimals to show it with: one, more where the half of its interval would be 0.0."""
        half = self.half if self.seeds > 1 else self.over_words
        return 1 if not half or half >= 0.05 else math.ceil(-math.log10(half))

    @property
    def sources(self) -> str:
        """The halves by source, as far as they are known."""
        halves = [(self.over_seeds, "seeds")] * (self.seeds > 1)
        halves += [(self.over_words, "test words")] if self.over_words is not None else []
        return ", ".join(f"±{half:.{self.places}f} over {source}" for half, source in halves)

    def format(self, sign: str = "", flip: bool = False) -> str:
        """Mean ± half; ``flip``: of the opposite difference."""
        return f"{-self.mean if flip else self.mean:{sign}.{self.places}f} ± {self.half:.{self.places}f}"


def absolute(base: Any, other: Any) -> Any:
    """In units of perplexity."""
    return other - base


def relative(base: Any, other: Any) -> Any:
    """In per cent of the base."""
    return 100 * (other / base - 1)


def difference(base: Replicates, other: Replicates, change: Change = absolute) -> Difference | None:
    """Of ``other`` to ``base``, over the seeds that finished in both; None if there is none."""
    pairs = other.finished.merge(base.finished, on="seed", suffixes=("_other", "_base"))
    if pairs.empty:
        return None
    values = change(pairs.test_base, pairs.test_other)
    return Difference(tuple(values.tolist()), *_over_words(pairs, change))


def _over_words(pairs: pd.DataFrame, change: Change) -> tuple[float | None, str]:
    """``Difference.over_words`` and ``words``."""
    blocks = blocks_of([pairs.record_base, pairs.record_other])
    if blocks is None:
        return None, "not other text, as not every record keeps the sums over blocks of test words"
    counts, sides = blocks
    length, tokens, count = int(counts[0]), int(counts.sum()), len(counts)
    resampled = stretches_of(count)
    if resampled is None:
        return None, f"not other text, as {counted(count, 'block')} of {length:,} test words are too few"
    weights, stretches = resampled
    stretch = round(count / stretches)
    words = weights @ counts
    base, other = (np.exp(weights @ np.array([run["totals"] for run in side]).T / words[:, None]) for side in sides)
    means = change(base, other).mean(1)
    # Drawing n of n stretches spreads like n - 1 of them; a whole number of them is not quite as long as the text.
    error = means.std(ddof=1) * math.sqrt(weights[0].sum() / count * stretches / (stretches - 1))
    return student(int(stretches) - 1) * float(
        error
    ), f"other text (bootstrap over stretches of {stretch * length:,} of {tokens:,} test words)"


def blocks_of(sides: Sequence[Iterable[Record]]) -> tuple[np.ndarray, list[list[dict[str, Any]]]] | None:
    """Items of each block, and the blocks of all runs of each side; None unless all have blocks of the same items."""
    blocks = [[run.blocks for run in side if run.blocks] for side in sides]
    counts = {tuple(run["counts"]) for side in blocks for run in side}
    if len(counts) != 1 or [len(side) for side in blocks] != [len(list(side)) for side in sides]:
        return None
    return np.array(counts.pop()), blocks


def stretches_of(count: int, alike: bool = True) -> tuple[np.ndarray, float] | None:
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
    starts = generator.integers(blocks, size=(RESAMPLES, round(blocks / stretch), 1))
    drawn = (starts + np.arange(stretch)) % blocks
    return np.stack([np.bincount(one.ravel(), minlength=blocks) for one in drawn]).astype(float)


def certainty(differences: Sequence[Difference]) -> str:
    """What the intervals of differences cover, and what they do not."""
    if not differences:
        return "no two runs of the same seed, so nothing is compared"
    seeds = max(difference.seeds for difference in differences)
    covered = ["other trainings (Student's t over runs of the same seed)"] * (seeds > 1)
    covered += sorted({difference.words for difference in differences})
    note = f"± of a difference, at 95 %: {'; '.join(covered)}"
    return f"{counted(seeds, 'seed')}; {note}" if seeds > 1 else f"1 seed decides nothing; {note}"


def as_value(difference: Difference | None, runs: tuple[str, ...] = ()) -> Value:
    """For a table: with its interval, or one decimal where one seed gives none."""
    if difference is None:
        return Value(None, runs=runs)
    if difference.seeds < 2:
        return Value(difference.mean, runs=runs)
    return Value(difference.mean, difference.half, runs=runs, format=f"+.{difference.places}f")
