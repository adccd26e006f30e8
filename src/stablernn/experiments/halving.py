"""Successive halving (Jamieson & Talwalkar 2016): train all trials a little, the best of them on, and so forth.

Synchronous: a rung is decided when every trial of it has been there, by what the histories say of that rung alone. So
the same trials have the same winner, whatever ran when, and however often the search was killed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stablernn.records.record import DIVERGED, Record
from stablernn.utils.metrics import PERPLEXITY, Metric


@dataclass(frozen=True)
class Ranking:
    """A trial at a rung.

    Attributes:
        id: of the run.
        cost: the best on the validation split up to the rung, the smaller the better; infinite if the trial did not
            get there.
        parameters: of the model; of two equal trials the smaller one is the better.
    """

    id: str
    cost: float
    parameters: int

    @property
    def order(self) -> tuple[float, int, str]:
        """Smaller is better; no two trials are equal."""
        return self.cost, self.parameters, self.id


def rungs(first: int, factor: int, last: int) -> list[int]:
    """Epochs after which the trials are compared: first, first · factor, ... below last, and last itself.

    Args:
        first: epochs that every trial gets, at least 1.
        factor: of the epochs from a rung to the next, at least 2.
        last: epochs of a whole run.
    """
    results = []
    while first < last:
        results.append(first)
        first *= factor
    return [*results, last]


def survivors(standings: Iterable[Ranking], factor: int) -> list[str]:
    """Ids of the best n / factor of n trials (rounded up), the best first; one without a finite cost never is."""
    ranked = sorted(standings, key=lambda ranking: ranking.order)
    best = ranked[: survivor_count(len(ranked), factor)]
    return [ranking.id for ranking in best if math.isfinite(ranking.cost)]


def survivor_count(count: int, factor: int) -> int:
    """How many of so many trials go on."""
    return math.ceil(count / factor)


def ranking(record: Record, epochs: float) -> Ranking:
    """Where a trial stood after so many epochs, whatever it did later."""
    cost = best_until(record.history, epochs, record.status == DIVERGED, record.metric)
    return Ranking(record.id, cost, record.model["parameters"])


def best_until(
    history: Sequence[Mapping[str, Any]], epochs: float, diverged: bool = False, metric: Metric = PERPLEXITY
) -> float:
    """The cost of the best validation of a history up to an epoch; infinite if the run diverged before it.

    A run that ended early because it no longer improved keeps its best.
    """
    scored = [row for row in history if "valid" in row]
    if diverged and (not scored or scored[-1]["epoch"] < epochs):
        return math.inf
    values = [row["valid"] for row in scored if row["epoch"] <= epochs]
    return min((math.inf if value is None else metric.cost(value) for value in values), default=math.inf)
