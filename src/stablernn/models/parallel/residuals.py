"""What the residuals of an iteration say of its errors.

For a guess s of the states let r_t = ‖s_t - φ(s_{t-1}, x_t)‖ be its residual. If φ is λ-contractive, its errors satisfy

    e_t <= λ e_{t-1} + r_t        and those of its image φ(s_{t-1}, x_t)        e'_t <= λ e_{t-1}

so the residual that the next iteration computes anyway proves how far the image is from the true states. (The maximum,
r / (1 - λ), is the well known bound of Banach's theorem; the recursion in time is tighter.) Without a certificate λ_t
is measured at every position as the growth of what the last iteration changed, and the same recursion gives an
estimate, no bound.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stablernn.models.cells.state import State, map_state
from stablernn.models.kernels.scan import linear_scan

_MARGIN = 0.1  # share of the tolerance that a state may be wrong by if others are still to be computed from it
_ROUNDINGS = 4  # units in the last place that two evaluations of one φ may differ by
_MEASURABLE = 1000  # units in the last place that a change must have for its growth to be measured


@dataclass(frozen=True)
class Contracting:
    """What is proven of a cell: ‖φ(s, x) - φ(s', x)‖ <= λ ‖s - s'‖ for all s, s' within a box.

    Attributes:
        rate: λ, below 1.
        norm: of states of (..., D): (...,).
        unit: u with |s_j| <= u ‖s‖ for each entry of a state.
        box: elementwise bounds of the states, (D,) each, that no state reached from zero leaves; guesses are kept
            within it. None: the whole space.
    """

    rate: float
    norm: Callable[[State], Tensor]
    unit: float
    box: State | None = None

    def within(self, state: State) -> State:
        """The nearest state (..., D) in the box."""
        if self.box is None:
            return state
        limits = (bound.to(part.dtype) for bound, part in zip(self.box, state, strict=True))
        return type(state)(*(torch.clamp(part, -limit, limit) for part, limit in zip(state, limits, strict=True)))


@dataclass(frozen=True)
class Finding:
    """What is known after an iteration.

    Attributes:
        settled: positions of its image that need no other iteration, from the first on; the first always is.
        digits: binary that the residuals of all positions together are still to lose.
        sound: whether all of it is finite, and each settled position within the tolerance or where rounding alone is
            left of its residual; if not, an error grows from what went before.
    """

    settled: int
    digits: float
    sound: bool


class Residuals:
    """The errors of one chunk. Axes: T its positions that are not settled yet; all tensors begin at the first of them.

    Args:
        proof: of the contraction; None: its rate is measured, and errors are estimates in the 2-norm.
        error: of the state before the first position, in that norm, (B,) float64.
        steps: positions T.
        tolerance: largest error of an entry of a settled state.

    Attributes:
        error: of the last settled position.
        largest: error of an entry of any settled state.
    """

    def __init__(self, proof: Contracting | None, error: Tensor, steps: int, tolerance: float) -> None:
        self.proof = proof
        self.error = error
        self.largest = 0.0
        self._growth = torch.ones_like(error)  # that one unit of error a step would have made of itself until there
        self._most_growth = float(steps)
        self._rates = error.new_full((steps, len(error)), proof.rate if proof else 1.0)
        self._tolerance = tolerance
        self._was_rounding = torch.zeros(steps, len(error), dtype=torch.bool, device=error.device)
        self._earlier: tuple[State, State] | None = None

    def examine(self, guess: State, before: State, image: State) -> Finding:
        """What an iteration has come to: the image of a guess (T, B, D), and the states ``before`` that it is of."""
        residual = _difference(image, guess)
        epsilon = torch.finfo(image.h.dtype).eps
        off = _in_roundings(residual, image)
        rounding = off <= _ROUNDINGS
        if self._earlier is not None:
            rounding &= _in_roundings(_difference(image, self._earlier[1]), image) <= _ROUNDINGS
        if self.proof is None:
            self._measure(before, image, epsilon)
        errors, growths = self._recursion(residual)
        trusted = torch.ones_like(rounding) if self.proof else growths <= self._most_growth
        quiet = rounding.cumprod(0).bool()  # what follows a position that still moves is about to move as well
        fixed = quiet & self._was_rounding & trusted
        self._was_rounding = rounding

        unit = self.proof.unit if self.proof else 1.0
        of_entries = unit * errors
        exact = (of_entries <= _MARGIN * self._tolerance) | fixed
        good = (of_entries <= self._tolerance) | fixed
        everything = good.all() & exact[-1].all()
        prefix = exact.all(1).cumprod(0).sum()
        settled = torch.where(everything, len(exact), prefix.clamp_min(1))  # φ of the state before is exact
        known = good | (errors <= self.error)  # what rounding has left above the tolerance may stay, but not grow
        largest = torch.where(known, of_entries, math.inf).amax(1).cummax(0).values[settled - 1]
        enough = (_MARGIN * self._tolerance / (unit * epsilon) * (1 - self._rates)).clamp_min(_ROUNDINGS)
        digits = (off / enough).clamp_min(1).log2().sum()

        count, reached, left = torch.stack([settled, largest, digits]).tolist()
        last = int(count) - 1
        self.error, self._growth = errors[last], growths[last]
        self.largest = max(self.largest, reached)
        return Finding(last + 1, left, math.isfinite(left + reached))

    def leave(self, settled: int, before: State, image: State) -> None:
        """Go on with the positions behind the settled ones."""
        self._rates, self._was_rounding = self._rates[settled:], self._was_rounding[settled:]
        self._earlier = rest_of(before, settled), rest_of(image, settled)

    def _recursion(self, residual: State) -> tuple[Tensor, Tensor]:
        """Errors of the image, and what one unit of error a step would have grown to, both (T, B)."""
        norm = self.proof.norm if self.proof else _length
        terms = torch.stack([norm(residual).double(), torch.ones_like(self._rates)])
        rates = self._rates.expand_as(terms).transpose(0, 1)
        start = torch.stack([self.error, self._growth])
        sums = torch.cat([start[None], linear_scan(rates, terms.transpose(0, 1).contiguous(), start)])
        return self._rates * sums[:-1, 0], sums[1:, 1]

    def _measure(self, before: State, image: State, epsilon: float) -> None:
        """λ_t: how much more the image has changed since the last iteration than the guess that it comes from."""
        if self._earlier is not None:
            cause, effect = (
                _length(_difference(now, then)) for now, then in zip((before, image), self._earlier, strict=True)
            )
            measurable = cause > _MEASURABLE * epsilon
            self._rates = torch.where(measurable, (effect / cause.clamp_min(epsilon)).double(), self._rates)


def rest_of(state: State, settled: int) -> State:
    """The positions behind the settled ones."""
    return map_state(lambda part: part[settled:], state)


def _difference(first: State, second: State) -> State:
    return type(first)(*(a - b for a, b in zip(first, second, strict=True)))


def _in_roundings(difference: State, state: State) -> Tensor:
    """The largest entry of a difference of states (T, B, D) in units in the last place of theirs, or of 1: (T, B)."""
    epsilon = torch.finfo(state.h.dtype).eps
    parts = [off.abs() / (epsilon * part.abs().clamp_min(1)) for off, part in zip(difference, state, strict=True)]
    return torch.stack([part.amax(-1) for part in parts]).amax(0)


def _length(state: State) -> Tensor:
    return torch.linalg.vector_norm(torch.cat(tuple(state), dim=-1), dim=-1)
