"""How far a state can be from the one that the recurrent model is in: bounds propagated along the inputs of a text.

At position t let s_t be the recurrent model's state, which is known, and u_t another state that saw the same last k
inputs. Before them it was anywhere in the box of states that the text allows. Elementwise radii |u_t - s_t| <= r_t
follow from those a step earlier: the pre-activations of u lie within ±(|W| r + |U| r_below) of the known ones, and
inside the reach of the whole box, so each gate lies in an interval. Of a product of which one factor is known, as f c
of an LSTM,

    f_u c_u - f c = f_u (c_u - c) + (f_u - f) c

is convex in f_u, and its largest size is that at an end of the interval. All bounds grow with r, and after no input r
is the whole box: so they fall with k, and what holds for k holds beyond.

Rounding: the known states are those that float64 computes. Sums of products are moved outward by ``ROUNDING`` of the
sum of their absolute terms, which covers what both trajectories round by in a step, elementary functions by ``TINY``,
and each bound by ``OUTWARD`` of its size.
"""

import copy
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State, map_state
from stablernn.models.state import rebuild, tensors
from stablernn.stability.proofs.norms import OUTWARD, CellProofs
from stablernn.utils.errors import NotApplicableError

TINY = 1e-14
STEPS = 8  # balls that are kept, for a bound of so many steps at once


class Reference(NamedTuple):
    """One layer of the recurrent model along T inputs, and what holds for every state that they allow; float64.

    Attributes:
        projected: U x + b, (T, G).
        recurrent: W h of the state before, (T, G).
        low, high: of the pre-activations of every state in the box, (T, G).
        noise: what a step rounds its pre-activations by, (T, G).
        before, after: states, of (T, D).
        box: bounds of the states after, of (T, D).
        gains: ‖diag(d) W‖_2 by group and size, (T, groups, sizes); of some cells further norms behind.
        linear: norms of the linear map of one step and of several that end there, (T, 2); (T, 0) where none are used.
    """

    projected: Tensor
    recurrent: Tensor
    low: Tensor
    high: Tensor
    noise: Tensor
    before: Any
    after: Any
    box: Any
    gains: Tensor
    linear: Tensor

    def since(self, position: int) -> "Reference":
        """From a position on."""
        return rebuild(self, (part[position:] for part in tensors(self)))


class Ball(NamedTuple):
    """Bounds of a difference of states.

    Attributes:
        radius: elementwise, of (N, D).
        norms: ‖δh‖_2 by group, (N, groups).
        quadratic: ‖δh‖ in a quadratic norm, and of what the last step added to its linear map, (N,) each; or nothing.
    """

    radius: Any
    norms: Tensor
    quadratic: tuple[Tensor, ...] = ()

    @property
    def norm(self) -> Tensor:
        """Of ‖δh‖_2, (N,)."""
        return up(torch.linalg.vector_norm(self.norms, dim=1))


def up(bound: Tensor) -> Tensor:
    """Rounded outward."""
    return bound * (1 + OUTWARD) + TINY


class BoundPropagation(ABC):
    """One step of a cell on bounds of states. A subclass knows the equations.

    Args:
        cell: left as it is.
        proofs: of the cell, with the box of the states that can be reached from zero by any inputs.

    Attributes:
        groups: of units of h, whose norms a ball holds.
        drive: |U| (E, G), and
        drive_rows: ‖U_j‖_2 (G,): what the input reaches of the pre-activations.
    """

    groups: Sequence[Tensor]
    drive: Tensor
    drive_rows: Tensor

    def __init__(self, cell: Cell, proofs: CellProofs) -> None:
        assert proofs.box is not None
        self.cell = copy.deepcopy(cell).double().requires_grad_(False)
        self.bounds = map_state(lambda part: part.clone(), proofs.box)

    @abstractmethod
    def follow(self, x: Tensor, state: State, before: State, below: Tensor | None, norms: bool = True) -> Reference:
        """The recurrent model along inputs.

        Args:
            x: (T, E).
            state: before them, of (1, D).
            before: bounds of the states that the text allows there, of (D,).
            below: bounds of |x| over them where it is a state, (T, E).
            norms: whether ``gains`` are wanted.
        """

    @abstractmethod
    def advance(self, at: Reference, ball: Ball, below: Ball | None) -> Ball:
        """The ball after a step.

        Args:
            at: N positions.
            ball: around the state before each.
            below: around its input, where that is a state.
        """

    def several(self, at: Reference, k: int, ball: Ball, past: Sequence[Ball]) -> Ball:
        """The ball, or a smaller one by a bound of several steps at once.

        Args:
            at: all positions; the ball is of those from k on.
            past: the balls of 0, ..., k - 1, or the last ``STEPS`` of them.
        """
        return ball

    def whole(self, at: Reference) -> Ball:
        """The ball around each known state that holds the box."""
        radius = self._farthest(at)
        return Ball(radius, self._norms(radius.h))

    def read(self, at: Reference, below: Ball | None) -> Tensor:
        """How far U x can move, (N, G)."""
        if below is None:
            return torch.zeros_like(at.projected)
        return up(torch.minimum(below.radius.h @ self.drive, below.norm[:, None] * self.drive_rows))

    def _path(self, projected: Tensor, state: State) -> tuple[State, State]:
        """The states before and after each step, of (T, D)."""
        states = [state]
        for row in projected:
            states.append(self.cell.step(row[None], states[-1]))
        path = type(state)(*(torch.cat(parts) for parts in zip(*states, strict=True)))
        return map_state(lambda part: part[:-1], path), map_state(lambda part: part[1:], path)

    def _farthest(self, at: Reference) -> State:
        """How far a state of the box can be from the known one."""
        return type(at.box)(*(up(bound + known.abs()) for bound, known in zip(at.box, at.after, strict=True)))

    def _within(self, at: Reference, radius: State) -> State:
        """Radii after a step, rounded outward, and no larger than the box."""
        return type(radius)(
            *(torch.minimum(up(part), far) for part, far in zip(radius, self._farthest(at), strict=True))
        )

    def _norms(self, part: Tensor) -> Tensor:
        return up(torch.stack([torch.linalg.vector_norm(part[:, units], dim=1) for units in self.groups], dim=1))


@singledispatch
def propagation(cell: Cell, proofs: CellProofs) -> BoundPropagation:
    """The ``BoundPropagation`` of a cell; raises NotApplicableError for one of which none is known."""
    raise NotApplicableError(f"not applicable: no bound along a text is known for {type(cell).__name__}")


def balls(
    layers: Sequence[BoundPropagation], references: Sequence[Reference], most: int
) -> Iterator[tuple[int, Sequence[Ball]]]:
    """Balls around the recurrent states for k = 0, 1, ..., most: of each layer those of positions k, k + 1, ..."""
    past = [deque([layer.whole(at)], maxlen=STEPS) for layer, at in zip(layers, references, strict=True)]
    for k in range(min(most, len(references[0].projected) - 1) + 1):
        if k:
            below = None
            for layer, at, balls_before in zip(layers, references, past, strict=True):
                earlier = rebuild(balls_before[-1], (part[:-1] for part in tensors(balls_before[-1])))
                below = layer.several(at, k, layer.advance(at.since(k), earlier, below), balls_before)
                balls_before.append(below)
        yield k, [of_layer[-1] for of_layer in past]


def deviation(function: Callable[[Tensor], Tensor], low: Tensor, at: Tensor, high: Tensor) -> Tensor:
    """How far an increasing function can be from ``at`` on [low, high]."""
    value = function(at)
    return up(torch.maximum(function(high) - value, value - function(low)))


def product_deviation(gate: Sequence[Tensor], moved: Tensor, known: Tensor, other: Tensor | float = 0.0) -> Tensor:
    """Bound of |g m + (g - at) known + (1 - g) o| for g in [low, high], |m| <= moved, |o| <= other: that at an end.

    Args:
        gate: low, at, high.
    """
    low, at, high = gate
    return up(
        torch.maximum(*(end * moved + (end - at).abs() * known.abs() + (1 - end) * other for end in (low, high)))
        + TINY * known.abs()
    )
