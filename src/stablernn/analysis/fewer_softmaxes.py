"""The truncated models' log-probabilities with few softmaxes.

Most of the work of a truncation curve would be the softmax, once for every k. But with δ = h_t^(k) - h_t, μ the mean
row of the decoder under the prediction from h_t, and A the log-partition function,

    A(h + δ) = A(h) + μ·δ + Var'(V·δ) / 2

with the variance under some prediction p' between the two. With r = D_V ‖δ‖, which bounds how far the values V_v·δ lie
apart, Var'(V·δ) <= r² / 4 (Popoviciu); and as p' / p <= exp(r), Var'(V·δ) <= exp(r) Σ_v p(v) ‖V_v - μ‖² ‖δ‖². Where
half of the lesser is below a tolerance, the first-order term gives the log-probability of a word to within it, and
no softmax is computed.
"""

import torch
from torch import Tensor

from stablernn.analysis.truncation_curve import Sums
from stablernn.models.heads.base import Head
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.stability.diameter import diameter

_ROWS_A_SWEEP = 4096  # feature vectors that the softmax scores at once


class FewerSoftmaxes:
    """Scores the recurrent model and its truncations, position by position, into ``sums``.

    Args:
        objective: the head that scores.
        tolerance: nats by which a log-probability may be off where no softmax is computed for it; 0: it always is.
        sums: what comes of it.

    Attributes:
        rows: that still wait for their softmax.
        swept: rows that have had it.
    """

    def __init__(self, objective: Head, tolerance: float, sums: Sums) -> None:
        self.objective = objective
        # The expansion at the head of this file is that of one softmax over all words.
        self.full = objective if tolerance and isinstance(objective, FullSoftmax) else None
        self.tolerance = tolerance
        self.spread = diameter(self.full.weight.detach().double(), 2) if self.full else 0.0
        self.sums = sums
        self.waiting: list[tuple[Tensor, ...]] = []
        self.rows = 0
        self.swept = 0

    def begin(self, features: Tensor, targets: Tensor) -> None:
        """The recurrent model at further positions: features (N, D), the words that come (N)."""
        self.features, self.targets = features, targets
        if self.full:
            self.known, means, self.variance = self.full.log_probabilities_and_moments(features, targets)
            self.slopes = self.full.weight[targets] - means
        else:
            self.known = self.objective.log_probabilities(features, targets)
        self.parts = self.sums.begin(self.known)

    def add(self, number: int, features: Tensor) -> None:
        """The features (N, D) of the number-th truncated model at the same positions."""
        change = features - self.features
        gap = torch.linalg.vector_norm(change, dim=1)
        self.sums.gaps[number].add(gap)
        if not self.full:
            self._wait(number, features, self.targets, self.known, self.parts)
            return
        apart = self.spread * gap
        far = torch.minimum(apart.square() / 4, apart.exp() * self.variance * gap.square()) > 2 * self.tolerance
        moved = torch.linalg.vecdot(self.slopes, change).masked_fill_(far, 0.0)
        self.sums.add_moved(number, (self.known + moved) * ~far, moved, self.parts)
        rows = far.nonzero()[:, 0]
        self._wait(number, features[rows], self.targets[rows], self.known[rows], self.parts[rows])

    def _wait(self, number: int, *rows: Tensor) -> None:
        """Few rows would leave the softmax waiting for memory: they are collected first."""
        known = rows[2]
        self.waiting.append((torch.full((len(known),), number, device=known.device), *rows))
        self.rows += len(known)
        if self.rows >= _ROWS_A_SWEEP:
            self.flush()

    def flush(self) -> None:
        """Score the rows that wait."""
        if self.rows:
            numbers, features, targets, known, parts = (torch.cat(rows) for rows in zip(*self.waiting, strict=True))
            self.sums.add_known(numbers, self.objective.log_probabilities(features, targets), known, parts)
            self.swept += self.rows
        self.waiting, self.rows = [], 0
