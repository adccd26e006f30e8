"""Scores: a summed negative log-probability, what else was counted, and the value that tables show for it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Metric:
    """How a summed negative log-probability (nats) of a number of items becomes the value that tables show.

    Attributes:
        name: in records, dashboards and tables.
        title: with the unit of the value.
        item: what is counted.
        items: several, as readers say.
        loss: the mean in nats, as readers say.
        of_mean: the value for a mean in nats an item.
        margin: the largest loss that counts as none, on the task's natural scale.
        scale: of a mean in nats an item to that scale.
        scale_unit: of it.
        places: decimals to show the value with.
        of_tally: the value for what was counted beside the loss, each entry a number or an array; its scale is the
            natural one. None: the loss alone makes the value.
        larger: whether a larger value is better.
        natural_of: a value on the natural scale.
    """

    name: str
    title: str
    item: str
    items: str
    loss: str
    of_mean: Callable[[float], float]
    margin: float
    scale: float = 1.0
    scale_unit: str = "nats"
    places: int = 2
    of_tally: Callable[[Sequence[Any]], Any] | None = None
    larger: bool = False
    natural_of: Callable[[float], float] = float

    @property
    def one(self) -> str:
        """One of ``items``, as readers say."""
        return self.items.removesuffix("s")

    @property
    def of_loss(self) -> "Metric":
        """The metric whose value is that of the loss alone."""
        if self.of_tally is None:
            return self
        title = f"{self.loss} in nats a {self.item}"
        return replace(self, name=self.loss, title=title, scale_unit="nats", of_tally=None, larger=False)

    def cost(self, value: float) -> float:
        """A value with the sign that makes the smaller one better."""
        return -value if self.larger else value

    def gain(self, before: float, after: float) -> float:
        """By how much one value is better than another before it, on the natural scale."""
        return self.cost(self.natural_of(before)) - self.cost(self.natural_of(after))

    def rank(self, score: Mapping[str, Any]) -> float:
        """Of ``Score.as_dict``: the smaller, the better."""
        return self.cost(score["value"]) if self.of_tally else score["total"]

    def natural(self, score: Mapping[str, Any]) -> float:
        """Of ``Score.as_dict``, on the natural scale: the smaller, the better."""
        return self.cost(score["value"]) if self.of_tally else score["total"] / score["count"] * self.scale

    def value(self, total: float, count: int) -> float:
        """Of the loss; infinite where it overflows, NaN for no items."""
        if not count:
            return math.nan
        try:
            return self.of_mean(total / count)
        except OverflowError:
            return math.inf


PERPLEXITY = Metric(
    name="perplexity",
    title="perplexity (margin in nats a token)",
    item="token",
    items="words",
    loss="log-perplexity",
    of_mean=math.exp,
    margin=0.02,
    places=1,
    natural_of=math.log,
)
NATS_A_FRAME = Metric(
    name="NLL",
    title="NLL in nats a frame",
    item="frame",
    items="frames",
    loss="NLL",
    of_mean=lambda mean: mean,
    margin=0.1,
)
_BITS = 1 / math.log(2)
BITS_A_CHARACTER = Metric(
    name="bits",
    title="bits a character",
    item="character",
    items="characters",
    loss="loss",
    of_mean=lambda mean: mean * _BITS,
    margin=0.02,
    scale=_BITS,
    scale_unit="bits",
    places=3,
)


def f1(tally: Sequence[Any]) -> Any:
    """In points, of the numbers of chunks (correct, predicted, true) or of arrays of them; 0 where there is none."""
    correct, predicted, true = tally
    return 200 * correct / np.maximum(predicted + true, 1)


F1 = Metric(
    name="F1",
    title="F1 of chunks",
    item="position",  # words, and behind each sentence as many positions as a tag waits for words (dataset.delay)
    items="positions",
    loss="NLL",
    of_mean=lambda mean: mean,
    margin=0.5,
    scale_unit="F1 points",
    of_tally=f1,
    larger=True,
)


def share(tally: Sequence[Any]) -> Any:
    """Per cent, of the numbers (right, all) or of arrays of them."""
    right, every = tally
    return 100 * right / np.maximum(every, 1)


ACCURACY = Metric(
    name="accuracy",
    title="per cent right",
    item="sentence",
    items="sentences",
    loss="NLL",
    of_mean=lambda mean: mean,
    margin=1.0,
    scale_unit="points",
    of_tally=share,
    larger=True,
)
SQUARED_ERROR = Metric(
    name="MSE",
    title="mean squared error",
    item="position",
    items="positions",
    loss="squared error",
    of_mean=lambda mean: mean,
    margin=0.005,
    scale_unit="squared error",
    places=4,
)
NATS_A_POSITION = Metric(
    name="cross-entropy",
    title="cross-entropy in nats a position",
    item="position",
    items="positions",
    loss="cross-entropy",
    of_mean=lambda mean: mean,
    margin=0.002,
    places=4,
)
_EVERY = (PERPLEXITY, NATS_A_FRAME, BITS_A_CHARACTER, F1, ACCURACY, SQUARED_ERROR, NATS_A_POSITION)
METRICS = {metric.name: metric for metric in _EVERY}


@dataclass(frozen=True)
class Score:
    """Summed negative log-probability of the items of a split.

    Attributes:
        total: in nats.
        count: items.
        metric: makes a value of the two.
        totals, counts: the same of each part of the split, one after the other; empty where nobody kept them.
        tallies: what else the metric counts of each part, as chunks (correct, predicted, true).
    """

    total: float
    count: int
    metric: Metric = PERPLEXITY
    totals: tuple[float, ...] = field(default=(), repr=False)
    counts: tuple[int, ...] = field(default=(), repr=False)
    tallies: tuple[tuple[int, ...], ...] = field(default=(), repr=False)

    @property
    def tally(self) -> list[int]:
        """Of all parts."""
        return [sum(entry) for entry in zip(*self.tallies, strict=True)]

    @property
    def value(self) -> float:
        """NaN where what the metric counts was not counted."""
        if self.metric.of_tally is None:
            return self.metric.value(self.total, self.count)
        return float(self.metric.of_tally(self.tally)) if self.tallies else math.nan

    def as_dict(self) -> dict[str, Any]:
        """What a record's metrics hold: the sums of the parts have a file of their own."""
        values = {"total": self.total, "count": self.count, "value": self.value}
        return values | ({"tally": self.tally} if self.tallies else {})

    def as_blocks(self) -> dict[str, Any]:
        """What a record keeps of the parts."""
        blocks = {"counts": list(self.counts), "totals": list(self.totals)}
        return blocks | ({"tallies": [list(tally) for tally in self.tallies]} if self.tallies else {})
