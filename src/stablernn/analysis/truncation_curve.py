"""A truncation curve, and the sums over positions that it is made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stablernn.analysis.distribution import Distribution
from stablernn.utils.metrics import PERPLEXITY, Metric, Score


@dataclass(frozen=True)
class Gap:
    """What truncation to k changes, in nats.

    Attributes:
        loss_change: its change, truncated minus recurrent; negative where the truncated model predicts better.
        largest: the largest change of the log-probability of any one of the words.
    """

    loss_change: float
    largest: float


@dataclass(frozen=True)
class Truncated:
    """The k-truncated model beside the recurrent one, on the same words.

    Attributes:
        score: of the truncated model.
        gap: between the two.
        state: ‖h_t - h_t^(k)‖_2 of the last layer over the positions t: mean, p99 (99th percentile), largest.
        cut: so many positions have more than k inputs (in both directions: on either side); the others stay the same.
        error: the standard error of ``gap.loss_change`` over the curve's parts: how far other data may move it.
    """

    score: Score
    gap: Gap
    state: dict[str, float]
    cut: int
    error: float


@dataclass(frozen=True)
class TruncationCurve:
    """A recurrent model and its truncations.

    Attributes:
        recurrent: score of the recurrent model.
        truncated: by k, ascending.
        parts: how many parts of the data errors are taken over: blocks of a text, or sequences.
        swept: softmax rows that were computed, as a share of one for every position and k.
    """

    recurrent: Score
    truncated: dict[int, Truncated]
    parts: int
    swept: float


class Sums:
    """Log-probabilities and state gaps, summed over positions for each of K truncation lengths.

    What truncation changes is summed part by part as well, (K, P).

    Args:
        lengths: K.
        sizes: positions of each of P parts of the data, in order: blocks of a text, or sequences.
        device: where the log-probabilities are.
        metric: of the scores.
    """

    def __init__(self, lengths: int, sizes: Sequence[int], device: torch.device, metric: Metric = PERPLEXITY) -> None:
        self.metric = metric
        self.tokens = sum(sizes)
        self.sizes = torch.tensor(sizes, dtype=torch.int64, device=device)
        self.recurrent = torch.zeros((), dtype=torch.float64, device=device)
        self.truncated = torch.zeros(lengths, dtype=torch.float64, device=device)
        self.largest = torch.zeros(lengths, dtype=torch.float64, device=device)
        self.changes = torch.zeros(lengths, len(sizes), dtype=torch.float64, device=device)
        self.gaps = [Distribution() for _ in range(lengths)]
        self._parts = torch.arange(len(sizes), device=device).repeat_interleave(self.sizes)
        self._begun = 0

    def begin(self, known: Tensor) -> Tensor:
        """Log-probabilities of the recurrent model at further positions; the part that each is of. Both (N,)."""
        self.recurrent += known.sum(dtype=torch.float64)
        parts = self._parts[self._begun : self._begun + len(known)]
        self._begun += len(known)
        return parts

    def add_moved(self, number: int, found: Tensor, moved: Tensor, parts: Tensor) -> None:
        """Of one length log-probabilities and what they have moved by, 0 where ``add_known`` tells; all (N,)."""
        self.truncated[number] += found.sum(dtype=torch.float64)
        self.changes[number].index_add_(0, parts, moved.double(), alpha=-1)
        self.largest[number] = torch.maximum(self.largest[number], moved.abs().max())

    def add_known(self, numbers: Tensor, found: Tensor, known: Tensor, parts: Tensor) -> None:
        """Log-probabilities of several lengths, and what the recurrent model's are there; all (N,)."""
        self.changes.index_put_((numbers, parts), (known - found).double(), accumulate=True)
        self.truncated.index_add_(0, numbers, found.double())
        self.largest.scatter_reduce_(0, numbers, (found - known).abs().double(), "amax")

    def errors(self) -> list[float]:
        """Standard errors of the mean change an item, by k; nan for a single part.

        For a mean the bootstrap's error over parts has a closed form: the spread of what each part adds to it,
        beyond its share of the items.
        """
        count = len(self.sizes)
        beyond = self.changes - self.changes.sum(1, keepdim=True) * self.sizes.double() / self.tokens
        return (beyond.square().sum(1) * count / (count - 1 or math.nan)).sqrt().div(self.tokens).tolist()

    def curve(self, lengths: Sequence[int], cut: Sequence[int], swept: int) -> TruncationCurve:
        """Of so many softmax rows, for the k in order, each of which cuts so many positions."""
        recurrent = Score(-float(self.recurrent), self.tokens, self.metric)
        truncated = {}
        sums = self.truncated.tolist(), self.largest.tolist(), self.gaps, cut, self.errors()
        for k, total, largest, gaps, beyond, error in zip(lengths, *sums, strict=True):
            state = {"mean": gaps.mean, "p99": gaps.percentile(99), "largest": gaps.largest}
            gap = Gap((-total - recurrent.total) / self.tokens, largest)
            truncated[k] = Truncated(Score(-total, self.tokens, self.metric), gap, state, beyond, error)
        return TruncationCurve(recurrent, truncated, len(self.sizes), swept / (self.tokens * len(lengths)))
