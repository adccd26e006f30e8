"""Scores: a summed negative log-probability, and the value that tables show for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Metric:
    """How a summed negative log-probability (nats) of a number of items becomes the value that tables show.

    Attributes:
        name: in records, dashboards and tables.
        title: with the unit of the value.
        item: what is counted.
        items: several, as readers say.
        loss: the mean in nats, as readers say.
        of_mean: the value for a mean in nats an item; smaller is better.
        margin: the largest loss that counts as none, on the task's natural scale.
        scale: of a mean in nats an item to that scale.
        scale_unit: of it.
        places: decimals to show the value with.
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

    def value(self, total: float, count: int) -> float:
        """Infinite where it overflows, NaN for no items."""
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
METRICS = {metric.name: metric for metric in (PERPLEXITY, NATS_A_FRAME, BITS_A_CHARACTER)}


@dataclass(frozen=True)
class Score:
    """Summed negative log-probability of the items of a split.

    Attributes:
        total: in nats.
        count: items.
        metric: makes a value of the two.
        totals, counts: the same of each part of the split, one after the other; empty where nobody kept them.
    """

    total: float
    count: int
    metric: Metric = PERPLEXITY
    totals: tuple[float, ...] = field(default=(), repr=False)
    counts: tuple[int, ...] = field(default=(), repr=False)

    @property
    def value(self) -> float:
        return self.metric.value(self.total, self.count)

    def as_dict(self) -> dict[str, float]:
        """What a record's metrics hold: the sums of the parts have a file of their own."""
        return {"total": self.total, "count": self.count, "value": self.value}

    def as_blocks(self) -> dict[str, Any]:
        """What a record keeps of the parts."""
        return {"counts": list(self.counts), "totals": list(self.totals)}
