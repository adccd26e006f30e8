"""Certificates of networks that read in both directions: what words farther than k on either side can change.

An output at t sees the states h→_t and h←_t. Let a copy of the network read the 2k - 1 inputs around t alone. Whatever
lies beyond them, at the ends of this window the true states are within H→ and H← of the copy's, which are zero. In one
layer each direction forgets its own end, and with D→ and D← of the two halves of the head's columns

    |δ log p| <= D→ λ→^k H→ + D← λ←^k H←.

In a stack the inputs of a layer are wrong by the errors of both directions below, which differ from position to
position: the forward error is largest where the window begins, the backward one where it ends. With i = 1 .. 2k - 1
along the window and t at i = k, a layer has

    e→(0) = H→,   e→(i) = λ→ e→(i-1) + u→(i),       e←(2k) = H←,   e←(i) = λ← e←(i+1) + u←(i),

where u(i) is the sum of what the two errors below at i move its states by; u = 0 in the first layer. Where the sequence
ends within the window, both networks begin there from zero, and the bounds hold the more.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.signal import lfilter

from stablernn.stability.certificates import Certificate
from stablernn.stability.proofs.norms import Contraction

_ROUNDING = 4 * np.finfo(np.float64).eps  # of one step of the recursion, relative; all its terms are positive

Pair = tuple[Contraction, Contraction]  # forwards, backwards
Gains = tuple[float, float]  # of the errors of both directions below


@dataclass(frozen=True)
class BothWays(Certificate):
    """What is proven of a network that reads in both directions, k inputs on each side.

    ``layers`` and ``proofs`` are of the forward and the backward cell of the first layer, of those of the second, ...

    Attributes:
        decoder_back: D_V of the columns of the backward states; ``decoder`` is that of the others.
    """

    decoder_back: float = math.inf
    directions: ClassVar[int] = 2

    def state_gaps(self) -> Iterator[float]:
        """Bounds of the error of the last layer, both directions added in their norms, for k = 0, 1, 2, ..."""
        k = 0
        while True:
            yield sum(self._errors(k))
            k += 1

    @property
    def _pairs(self) -> list[Pair]:
        return list(zip(self.layers[::2], self.layers[1::2], strict=True))

    @cached_property
    def _gains_from(self) -> list[tuple[Gains, Gains]]:
        """Of each layer but the first: how far the forward and the backward state are moved, by each error below."""
        return [tuple(_gains(cell, below) for cell in pair) for below, pair in pairwise(self._pairs)]  # type: ignore[misc]

    def _errors(self, k: int) -> tuple[float, float]:
        """Bounds of the errors of the last layer in the middle of a window, forwards and backwards."""
        if k == 0 or len(self.layers) == 2:
            forwards, backwards = self._pairs[-1]
            return forwards.radius * forwards.rate**k, backwards.radius * backwards.rate**k
        if not np.isfinite(self._gains_from).all():
            return math.inf, math.inf
        errors = np.zeros((2, 2 * k - 1))
        for pair, gains in zip(self._pairs, [((0.0, 0.0),) * 2, *self._gains_from], strict=True):
            forwards, backwards = np.array(gains) @ errors
            errors = np.array([_along(pair[0], forwards), _along(pair[1], backwards[::-1])[::-1]])
        first, second = errors[:, k - 1] * (1 + _ROUNDING * len(self.layers) * 2 * k)
        return float(first), float(second)

    def _moved(self, k: int) -> float:
        forwards, backwards = self._errors(k)
        return self.decoder * forwards + self.decoder_back * backwards

    def _apart(self, k: int) -> float:
        hidden = [cell.norm.hidden for cell in self.layers[-2:] if cell.norm is not None]
        return math.hypot(*(size * error for size, error in zip(hidden, self._errors(k), strict=True)))

    def _where(self, number: int) -> str:
        layer, back = divmod(number, 2)
        which = "backwards" if back else "forwards"
        return f"layer {layer + 1}, {which}: " if len(self.layers) > 2 else f"{which}: "

    def summary(self) -> dict[str, Any]:
        """See ``Certificate``; H and D_V are the larger ones of the two directions."""
        summary = super().summary()
        if self.holds:
            summary["radius"] = max(cell.radius for cell in self.layers[-2:])
            summary["decoder"] = max(self.decoder, self.decoder_back)
        return summary


def _gains(cell: Contraction, below: Pair) -> Gains:
    """How far a state moves, in the norm of its cell, by errors of size 1 below: by one alone, and by the other."""
    moves = [1 / one.norm.weights.h for one in below if one.norm is not None]
    if len(moves) < 2:
        return math.inf, math.inf
    first, second = moves
    return (
        cell.input_gain(torch.cat([first, torch.zeros_like(second)])),
        cell.input_gain(torch.cat([torch.zeros_like(first), second])),
    )


def _along(cell: Contraction, moved: Sequence[float] | np.ndarray) -> np.ndarray:
    """e(i) = λ e(i-1) + u(i) from e(0) = H."""
    errors, _ = lfilter([1.0], [1.0, -cell.rate], moved, zi=[cell.rate * cell.radius])
    return errors
