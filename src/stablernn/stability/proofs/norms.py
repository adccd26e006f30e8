"""What proves that a cell is contractive: a norm of its state in which every step shrinks every difference.

Each proof carries what a sceptic needs to attack it: the norm, the rate λ and the radius H. All of it is computed in
float64 from the weights as they are stored, and rounded outward: float64 sums of some thousand terms are right to 1e-12
of their size, and every bound is moved by 1e-9 of its size against the claim.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stablernn.models.cells.state import State
from stablernn.stability.proofs.gates import ROUNDING, Reach

OUTWARD = 1e-9


@dataclass(frozen=True)
class StateNorm:
    """‖s‖ = ‖w ⊙ s‖_p over all parts of a state together.

    Attributes:
        p: 2 or inf.
        weights: w, a state of (D,) tensors, float64, positive.
    """

    p: float
    weights: State

    def __call__(self, state: State) -> Tensor:
        """The norm of states of (..., D): (...,)."""
        scaled = [part * weight for part, weight in zip(state, self.weights, strict=True)]
        return torch.linalg.vector_norm(torch.cat(scaled, dim=-1), ord=self.p, dim=-1)

    def over(self, box: State) -> float:
        """A bound of ‖s‖ for every s whose entries are no larger than those of a state of (D,), rounded outward."""
        return up(float(StateNorm.__call__(self, box)))

    def readout(self, rows: Tensor) -> Tensor:
        """rows (N, D) such that |v · h| <= (dual norm of its row) ‖s‖ for the h of any state s."""
        return rows / self.weights.h

    @property
    def hidden(self) -> float:
        """The largest ‖h‖_2 of a state s with ‖s‖ = 1."""
        inverse = 1 / self.weights.h
        return float(torch.linalg.vector_norm(inverse) if self.p == math.inf else inverse.max())

    @property
    def dual(self) -> float:
        """The order of the norm that goes with ``readout``: 1 or 2."""
        return 1.0 if self.p == math.inf else 2.0


@dataclass(frozen=True)
class Contraction:
    """‖φ(s, x) - φ(s', x)‖ <= λ ‖s - s'‖ for every input x and all s, s' that can be reached from zero.

    Attributes:
        name: of the kind of norm.
        rate: λ; a proof of stability if below 1.
        reason: why it proves nothing, where it does not.
        norm: in which it contracts; None where it does not.
        radius: H >= ‖s‖ for every state reached from zero.
        input_gain: elementwise bound of a change of the input (E,) -> bound of the norm of the change of the state.
    """

    name: str
    rate: float
    reason: str = ""
    norm: StateNorm | None = None
    radius: float = math.inf
    input_gain: Callable[[Tensor], float] = field(default=lambda change: math.inf, repr=False, compare=False)

    @property
    def holds(self) -> bool:
        return self.norm is not None and self.rate < 1 and math.isfinite(self.radius)


@dataclass(frozen=True)
class CellProofs:
    """What can be proved of one cell.

    Attributes:
        candidates: one contraction for each kind of norm that was tried (with several λ, several).
        bounds: what they rest on, by name.
        box: elementwise bounds of the states reached from zero, (D,) each; the contractions hold in it.
        searched: further candidates that take a search; None: there are none.
    """

    candidates: list[Contraction]
    bounds: dict[str, float]
    box: State | None = None
    searched: Callable[[], list[Contraction]] | None = field(default=None, repr=False, compare=False)


def up(value: float) -> float:
    """Rounded outward."""
    return value * (1 + OUTWARD)


def widened(reach: Reach, terms: Tensor) -> Reach:
    """Rounded outward, given how large the terms (G,) are that were summed."""
    low, high = (torch.maximum(OUTWARD * (1 + edge.abs()), ROUNDING * terms) for edge in reach)
    return Reach(reach.low - low, reach.high + high)
