"""What a recurrent model loses when it sees the last k words alone: every k in one pass.

The pass goes down the layers of the k-truncated network, h_t^(j) = φ(h_{t-1}^(j-1), x_t), with all positions of a
stretch of text side by side; the recurrent states h_t stand beside them. Most of the work would be the softmax, once
for every k. But with δ = h_t^(k) - h_t, μ the mean row of the decoder under the prediction from h_t, and A the
log-partition function,

    A(h + δ) = A(h) + μ·δ + Var'(V·δ) / 2

with the variance under some prediction p' between the two. With r = D_V ‖δ‖, which bounds how far the values V_v·δ lie
apart, Var'(V·δ) <= r² / 4 (Popoviciu); and as p' / p <= exp(r), Var'(V·δ) <= exp(r) Σ_v p(v) ‖V_v - μ‖² ‖δ‖². Where
half of the lesser is below a tolerance, the first-order term gives the log-probability of a word to within it, and
no softmax is computed.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from stablernn.analysis.analyse import check_split
from stablernn.analysis.distribution import Distribution
from stablernn.console import open_bar
from stablernn.data.splits import Split
from stablernn.errors import ConfigurationError
from stablernn.models.head import Head
from stablernn.models.language_model import SequenceModel
from stablernn.models.softmax import FullSoftmax
from stablernn.models.truncated import truncations
from stablernn.models.unroll import Recurrent
from stablernn.stability.certificates import certify, diameter
from stablernn.training.evaluate import BLOCK, Score
from stablernn.training.trained import Trained

POSITIONS = 4096
TOLERANCE = 1e-5
_ROWS_A_SWEEP = 4096  # feature vectors that the softmax scores at once


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


@torch.no_grad()
def truncation_curve(
    model: SequenceModel,
    split: Split,
    lengths: Sequence[int],
    tolerance: float = TOLERANCE,
    positions: int = POSITIONS,
    on_position: Callable[[int], None] = lambda position: None,
) -> TruncationCurve:
    """Score a split, as one stream, by the recurrent model of these cells and by all its truncations.

    Every token is scored exactly once for each k, by k words of context or by all there are before it.

    Args:
        model: its weights count; whether its own backbone is recurrent or feed-forward does not. A float64 model
            sees gaps far below float32's rounding.
        split: of any length.
        lengths: the k.
        tolerance: nats by which a log-probability may be off where no softmax is computed for it; 0: it always is, as
            under a head that is not one full softmax.
        positions: held in memory at once; at least the largest k are.
        on_position: called with the number of positions done, for a progress bar.
    """
    was_training = model.training
    model.eval()
    device = model.inputs.weight.device
    wanted = sorted(set(lengths))
    if not wanted or wanted[0] < 1:
        raise ConfigurationError(f"truncation lengths {wanted}: each must be a whole number >= 1")
    step = max(wanted[-1], positions)
    cells = list(model.backbone.cells)
    backbone = Recurrent(cells)
    before = backbone.initial_state(1)
    sums = _Sums(model.objective, len(wanted), tolerance, len(split))
    for start in range(0, len(split), step):
        first = max(0, start - wanted[-1] + 1)
        x = model.inputs(_ids(split.inputs[first : start + step], device)[:, None])
        targets = _ids(split.targets[start : start + step], device)
        whole, before = backbone(x[start - first :], before)
        sums.begin(whole[:, 0], targets)
        for number, (_, states) in enumerate(truncations(cells, x, wanted)):
            sums.add(number, states[-1].h[start - first :, 0])
        on_position(min(start + step, len(split)))
    sums.flush()
    model.train(was_training)
    return sums.curve(wanted)


def _ids(words: Any, device: torch.device) -> Tensor:
    return torch.as_tensor(words.astype("int64"), device=device)


class _Sums:
    """Log-probabilities and state gaps, summed over positions for each of K truncation lengths.

    What truncation changes is summed block by block as well, (K, blocks of words).
    """

    def __init__(self, objective: Head, lengths: int, tolerance: float, tokens: int) -> None:
        self.objective = objective
        # The expansion at the head of this file is that of one softmax over all words.
        self.full = objective if tolerance and isinstance(objective, FullSoftmax) else None
        self.tokens = tokens
        self.tolerance = tolerance
        self.spread = diameter(self.full.weight.detach().double(), 2) if self.full else 0.0
        device = next(objective.parameters()).device
        self.recurrent = torch.zeros((), dtype=torch.float64, device=device)
        self.truncated = torch.zeros(lengths, dtype=torch.float64, device=device)
        self.largest = torch.zeros(lengths, dtype=torch.float64, device=device)
        self.changes = torch.zeros(lengths, -(-tokens // BLOCK), dtype=torch.float64, device=device)
        self.begun = 0
        self.gaps = [Distribution() for _ in range(lengths)]
        self.waiting: list[tuple[Tensor, ...]] = []
        self.rows = 0
        self.swept = 0

    def begin(self, features: Tensor, targets: Tensor) -> None:
        """The recurrent model at further positions: features (N, D), the words that come (N)."""
        self.features, self.targets = features, targets
        self.blocks = torch.arange(self.begun, self.begun + len(targets), device=targets.device) // BLOCK
        self.begun += len(targets)
        if self.full:
            self.known, means, self.variance = self.full.log_probabilities_and_moments(features, targets)
            self.slopes = self.full.weight[targets] - means
        else:
            self.known = self.objective.log_probabilities(features, targets)
        self.recurrent += self.known.sum(dtype=torch.float64)

    def add(self, number: int, features: Tensor) -> None:
        """The features (N, D) of the number-th truncated model at the same positions."""
        change = features - self.features
        gap = torch.linalg.vector_norm(change, dim=1)
        self.gaps[number].add(gap)
        if not self.full:
            self._wait(number, features, self.targets, self.known, self.blocks)
            return
        apart = self.spread * gap
        far = torch.minimum(apart.square() / 4, apart.exp() * self.variance * gap.square()) > 2 * self.tolerance
        moved = torch.linalg.vecdot(self.slopes, change).masked_fill_(far, 0.0)
        near = ~far
        self.truncated[number] += ((self.known + moved) * near).sum(dtype=torch.float64)
        self.changes[number].index_add_(0, self.blocks, moved.double(), alpha=-1)
        self.largest[number] = torch.maximum(self.largest[number], moved.abs().max())
        rows = far.nonzero()[:, 0]
        self._wait(number, features[rows], self.targets[rows], self.known[rows], self.blocks[rows])

    def _wait(self, number: int, *rows: Tensor) -> None:
        """Few rows would leave the softmax waiting for memory: they are collected first."""
        targets = rows[1]
        self.waiting.append((torch.full_like(targets, number), *rows))
        self.rows += len(targets)
        if self.rows >= _ROWS_A_SWEEP:
            self.flush()

    def flush(self) -> None:
        """Score the rows that wait."""
        if self.rows:
            numbers, features, targets, known, blocks = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
            found = self.objective.log_probabilities(features, targets)
            self.changes.index_put_((numbers, blocks), (known - found).double(), accumulate=True)
            self.truncated.index_add_(0, numbers, found.double())
            self.largest.scatter_reduce_(0, numbers, (found - known).abs().double(), "amax")
            self.swept += self.rows
        self.waiting, self.rows = [], 0

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

    def curve(self, lengths: Sequence[int]) -> TruncationCurve:
        recurrent = Score(-float(self.recurrent), self.tokens)
        truncated = {}
        for k, total, largest, gaps, error in zip(
            lengths, self.truncated.tolist(), self.largest.tolist(), self.gaps, self.errors(), strict=True
        ):
            state = {"mean": gaps.mean, "p99": gaps.percentile(99), "largest": gaps.largest}
            gap = Gap((-total - recurrent.nats) / self.tokens, largest)
            truncated[k] = Truncated(Score(-total, self.tokens), gap, state, error)
        return TruncationCurve(recurrent, truncated, self.swept / (self.tokens * len(lengths)))


def measure_gaps(model: SequenceModel, split: Split, lengths: Sequence[int]) -> dict[int, Gap]:
    """``truncation_curve`` in float64 with every softmax computed: differences far below float32's rounding count."""
    curve = truncation_curve(copy.deepcopy(model).double(), split, lengths, tolerance=0.0)
    return {k: at.gap for k, at in curve.truncated.items()}


@dataclass(frozen=True)
class TruncationAnalysis:
    """analysis=truncation: perplexity and state gap for k = 1 .. k_max, and beside them what is proven or optimal.

    Args:
        k_max: the largest k.
        split: of the data,
        whole: all of it, also where the run's own data are cut short.
        tokens: its first so many words; None: all.
        tolerance: nats by which a single log-probability may be off (see the head of this file).
        positions: held in memory at once.
    """

    k_max: int = 64
    split: str = "test"
    whole: bool = True
    tokens: int | None = None
    tolerance: float = TOLERANCE
    positions: int = POSITIONS
    name: ClassVar[str] = "truncation"

    def __post_init__(self) -> None:
        check_split(self.split)
        for option in ("k_max", "positions"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"{option}={getattr(self, option)} must be a whole number >= 1")
        if self.tokens is not None and self.tokens < 1:
            raise ConfigurationError(f"analysis.tokens={self.tokens} must be a whole number >= 1, or null for all")
        if not self.tolerance >= 0:
            raise ConfigurationError(f"analysis.tolerance={self.tolerance} must be a number of nats >= 0")

    @property
    def options(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "positions"}

    def __call__(self, trained: Trained) -> dict[str, Any]:
        model = trained.model("best")
        split = trained.whole_split(self.split) if self.whole else trained.corpus.splits[self.split]
        split = split.first(self.tokens)
        bar = open_bar(f"truncation {trained.record.id}", len(split))
        curve = truncation_curve(
            model, split, range(1, self.k_max + 1), self.tolerance, self.positions, on_position=bar.update
        )
        bar.close()
        certificate = certify(model)
        source = trained.corpus.source
        return {
            "words": len(split),
            "recurrent": curve.recurrent.as_dict(),
            "swept": curve.swept,
            "k": list(curve.truncated),
            "perplexity": [at.score.perplexity for at in curve.truncated.values()],
            "log_perplexity": [at.gap.log_perplexity for at in curve.truncated.values()],
            "error": {
                "blocks": -(-len(split) // BLOCK),
                "length": BLOCK,
                "log_perplexity": [None if math.isnan(at.error) else at.error for at in curve.truncated.values()],
            },
            "largest": [at.gap.largest for at in curve.truncated.values()],
            "state": {name: [at.state[name] for at in curve.truncated.values()] for name in ("mean", "p99", "largest")},
            "certified": {
                "state": [certificate.state_gap(k) for k in curve.truncated] if certificate.holds else None,
                "nats": [certificate.gap(k) for k in curve.truncated] if certificate.holds else None,
                "reason": certificate.summary().get("reason"),
            },
            "optimal": source.perplexities(split, self.k_max) if source is not None else None,
            "optimal_whole_past": source.perplexity(split, None) if source is not None else None,
        }
