"""A truncation curve, and the sums over positions that it is made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stablernn.analysis.distribution import Distribution
from stablernn.training.evaluate import BLOCK
from stablernn.utils.metrics import PERPLEXITY, Metric, Score


@dataclass(frozen=True)
class Gap:
    """What truncation to k changes, in nats.

    Attributes:
        log_perplexity: its change, truncated minus recurrent; negative where the truncated model predicts better.
        largest: the largest change of the log-probability of any one of the words.
    """

    log_perplexity: float
    largest: float


@dataclass(frozen=True)
class Truncated:
    """The k-truncated model beside the recurrent one, on the same words.

    Attributes:
        score: of the truncated model.
        gap: between the two.
        state: ‖h_t - h_t^(k)‖_2 of the last layer over the positions t: mean, p99 (99th percentile), largest.
        error: the standard error of ``gap.log_perplexity`` over blocks of words: how far other text may move it.
    """

    score: Score
    gap: Gap
    state: dict[str, float]
    error: float


@dataclass(frozen=True)
class TruncationCurve:
    """A recurrent model and its truncations.

    Attributes:
        recurrent: score of the recurrent model.
        truncated: by k, ascending.
        swept: softmax rows that were computed, as a share of one for every position and k.
    """

    recurrent: Score
    truncated: dict[int, Truncated]
    swept: float


class Sums:
    """Log-probabilities and state gaps, summed over positions for each of K truncation lengths.

    What truncation changes is summed block by block as well, (K, blocks of words).

    Args:
        lengths: K.
        tokens: positions there will be.
        device: where the log-probabilities are.
        metric: of the scores.
    """

    def __init__(self, lengths: int, tokens: int, device: torch.device, metric: Metric = PERPLEXITY) -> None:
        self.metric = metric
        self.tokens = tokens
        self.recurrent = torch.zeros((), dtype=torch.float64, device=device)
        self.truncated = torch.zeros(lengths, dtype=torch.float64, device=device)
        self.largest = torch.zeros(lengths, dtype=torch.float64, device=device)
        self.changes = torch.zeros(lengths, -(-tokens // BLOCK), dtype=torch.float64, device=device)
        self.gaps = [Distribution() for _ in range(lengths)]
        self._begun = 0

    def begin(self, known: Tensor) -> Tensor:
        """Log-probabilities of the recurrent model at further positions; the block of each. Both (N,)."""
        self.recurrent += known.sum(dtype=torch.float64)
        blocks = torch.arange(self._begun, self._begun + len(known), device=known.device) // BLOCK
        self._begun += len(known)
        return blocks

    def add_moved(self, number: int, found: Tensor, moved: Tensor, blocks: Tensor) -> None:
        """Of one length log-probabilities and what they have moved by, 0 where ``add_known`` tells; all (N,)."""
        self.truncated[number] += found.sum(dtype=torch.float64)
        self.changes[number].index_add_(0, blocks, moved.double(), alpha=-1)
        self.largest[number] = torch.maximum(self.largest[number], moved.abs().max())

    def add_known(self, numbers: Tensor, found: Tensor, known: Tensor, blocks: Tensor) -> None:
        """Log-probabilities of several lengths, and what the recurrent model's are there; all (N,)."""
        self.changes.index_put_((numbers, blocks), (known - found).double(), accumulate=True)
        self.truncated.index_add_(0, numbers, found.double())
        self.largest.scatter_reduce_(0, numbers, (found - known).abs().double(), "amax")

    def errors(self) -> list[float]:
        """Standard errors of the mean change a word, by k; nan for a single block.

        For a mean the bootstrap's error over blocks has a closed form: the spread of what each block adds to it,
        beyond its share of the words.
        """
        count = self.changes.shape[1]
        starts = torch.arange(count, device=self.changes.device) * BLOCK
        words = (self.tokens - starts).clamp(max=BLOCK).double()
        beyond = self.changes - self.changes.sum(1, keepdim=True) * words / self.tokens
        return (beyond.square().sum(1) * count / (count - 1 or math.nan)).sqrt().div(self.tokens).tolist()

    def curve(self, lengths: Sequence[int], swept: int) -> TruncationCurve:
        """Of so many softmax rows, for the k in order."""
        recurrent = Score(-float(self.recurrent), self.tokens, self.metric)
        truncated = {}
        for k, total, largest, gaps, error in zip(
            lengths, self.truncated.tolist(), self.largest.tolist(), self.gaps, self.errors(), strict=True
        ):
            state = {"mean": gaps.mean, "p99": gaps.percentile(99), "largest": gaps.largest}
            gap = Gap((-total - recurrent.total) / self.tokens, largest)
            truncated[k] = Truncated(Score(-total, self.tokens, self.metric), gap, state, error)
        return TruncationCurve(recurrent, truncated, swept / (self.tokens * len(lengths)))
