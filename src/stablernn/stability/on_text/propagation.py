"""How far a state can be from the one that the recurrent model is in: bounds propagated along the inputs of a text.

At position t let s_t be the recurrent model's state, which is known, and u_t another state that saw the same last k
inputs. Before them it was anywhere in the box of states that the text allows. Elementwise radii |u_t - s_t| <= r_t
follow from those a step earlier: the pre-activations of u lie within ±(|W| r + |U| r_below) of the known ones, and
inside the reach of the whole box, so each gate lies in an interval. Of a product of which one factor is known, as f c
of an LSTM,

    f_u c_u - f c = f_u (c_u - c) + (f_u - f) c

is convex in f_u, and its largest size is that at an end of the interval.

Row sums of |W| overrate a matrix whose 2-norm is small. So ‖δh‖_2 <= n is bounded beside, group by group of the cascade
that the zeros of the matrices make, and row j of W δh is at most the lesser of (|W| r)_j and ‖W_j‖_2 n. Where a gate
passes its pre-activation to h in the same step (the RNN itself, the output gate),

    ‖δh'‖_2 <= ‖diag(d) W‖_2 ‖δh‖_2 + what does not come through it,

with d_j the steepest chord of the gate from the known point. The norms are computed at each position for a few sizes of
δh, and for all in between the next larger one counts. All bounds grow with r and n, and after no input r is the whole
box: so they fall with k, and what holds for k holds beyond.

Rounding: the known states are those that float64 computes. Sums of products are moved outward by ``ROUNDING`` of the
sum of their absolute terms, which covers what both trajectories round by in a step, elementary functions by ``TINY``,
and each bound by ``OUTWARD`` of its size.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import singledispatch
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State, map_state
from stablernn.models.state import rebuild, tensors
from stablernn.stability.proofs.gates import ROUNDING
from stablernn.stability.proofs.norms import OUTWARD, CellProofs
from stablernn.stability.proofs.rates import MOST_PLACES, levels
from stablernn.utils.errors import NotApplicableError

SIZES = (0.05, 0.5, math.inf)  # of W_j δh, in units of ‖W_j‖_2, for which norms are computed
_WEAK = 0.5  # a gain below this is not worth the exact norm
_LEAST_ROW = 1e-2  # of the largest norm of a row: shorter rows count as so long
TINY = 1e-14
MATRICES = 2**21  # numbers in the matrices whose norms are computed together
STEPS = 8  # that are bounded at once
_HALVINGS = 12


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
        direct: the block of rows whose pre-activation moves h in the same step; None: there is none.
        steepest: the largest slope of its gate.
    """

    direct: ClassVar[int | None] = None
    steepest: ClassVar[float] = 1.0

    def __init__(self, cell: Cell, proofs: CellProofs) -> None:
        assert proofs.box is not None
        self.cell = copy.deepcopy(cell).double().requires_grad_(False)
        self.bounds = map_state(lambda part: part.clone(), proofs.box)
        self.bounds.h.clamp_(max=1)
        d = cell.hidden_size
        weight = self.cell.weight_hh
        self.recurs = bool(weight.any())
        places = levels(weight.view(-1, d, d).abs().sum(0))
        if int(places.max()) >= MOST_PLACES:
            places = torch.zeros_like(places)
        self.groups = [(places == place).nonzero()[:, 0] for place in places.unique()]
        self.columns = [weight[:, units].abs().T.contiguous() for units in self.groups]
        self.rows = [up(weight[:, units].norm(dim=1)) for units in self.groups]
        self.drive = self.cell.weight_ih.abs().T.contiguous()
        self.drive_rows = up(self.cell.weight_ih.norm(dim=1))

    @abstractmethod
    def box(self, low: Tensor, high: Tensor, before: State) -> State:
        """Bounds of |state| at T positions with pre-activations in [low, high] (T, G), from those before the first."""

    @abstractmethod
    def step(
        self, at: Reference, radius: Any, recurrent: Tensor, read: Tensor, low: Tensor, high: Tensor
    ) -> tuple[State, Tensor]:
        """Radii after a step, and of |δh| what does not come through the direct block, (N, D).

        Args:
            at: N positions.
            radius: before it.
            recurrent, read: how far W h and U x can move,
            low, high: and where the pre-activations can be, (N, G) each.
        """

    def chord(self, at: Reference, moved: Tensor) -> Tensor:
        """d (N, D): how far h moves with the pre-activations of the direct block, if they move by ``moved`` at most.

        Asked of a cell with a ``direct`` block alone.
        """
        raise NotImplementedError

    def follow(self, x: Tensor, state: State, before: State, below: Tensor | None, norms: bool = True) -> Reference:
        """The recurrent model along inputs.

        Args:
            x: (T, E).
            state: before them, of (1, D).
            before: bounds of the states that the text allows there, of (D,).
            below: bounds of |x| over them where it is a state, (T, E).
            norms: whether ``gains`` are wanted.
        """
        cell = self.cell
        projected = cell.project_inputs(x)
        states = [state]
        for row in projected:
            states.append(cell.step(row[None], states[-1]))
        path = type(state)(*(torch.cat(parts) for parts in zip(*states, strict=True)))
        biases = sum(bias.abs() for bias in (cell.bias_ih, cell.bias_hh))
        whole = cell.weight_hh.abs().sum(1)
        noise = ROUNDING * (x.abs() @ self.drive + biases + whole + 1)
        moved = 0.0 if below is None else (x.abs() + below) @ self.drive
        spread = up(cell.weight_hh.abs() @ self.bounds.h + moved) + noise
        low, high = projected - spread, projected + spread
        box = self.box(low, high, before)
        earlier = map_state(lambda part: part[:-1], path)
        after = map_state(lambda part: part[1:], path)
        recurrent = earlier.h @ cell.weight_hh.T
        nothing = projected[:, :0]
        at = Reference(projected, recurrent, low, high, noise, earlier, after, box, nothing, nothing)
        return at._replace(gains=self._gains(at)) if norms else at

    def _gains(self, at: Reference) -> Tensor:
        gains = at.projected.new_zeros(len(at.projected), len(self.groups), len(SIZES))
        if self.direct is None or not self.recurs:
            return gains
        for number, units in enumerate(self.groups):
            block = self._direct(number)
            if not bool(block.any()):
                continue
            largest = float(torch.linalg.matrix_norm(block, 2))
            for place, size in enumerate(SIZES):
                steepness = self.chord(at, torch.full_like(at.after.h, size) * self._lengths())[:, units]
                if self.steepest * largest < _WEAK:
                    gains[:, number, place] = steepness.amax(1) * largest
                    continue
                gains[:, number, place] = norms_of(some[:, :, None] * block for some in pieces(steepness, len(block)))
        return up(gains).cummax(2).values

    def _direct(self, group: int) -> Tensor:
        """W (D_g, D_g) of a group in the direct block."""
        assert self.direct is not None
        rows = self.groups[group] + self.direct * self.cell.hidden_size
        return self.cell.weight_hh[rows][:, self.groups[group]]

    def _lengths(self) -> Tensor:
        """‖W_j‖_2 of the direct block, (D,), no row much shorter than the longest."""
        assert self.direct is not None
        d = self.cell.hidden_size
        lengths = self.cell.weight_hh[self.direct * d : (self.direct + 1) * d].norm(dim=1)
        return lengths.clamp_min(_LEAST_ROW * float(lengths.max()))

    def whole(self, at: Reference) -> Ball:
        """The ball around each known state that holds the box."""
        radius = self._farthest(at)
        return Ball(radius, self._norms(radius.h))

    def _farthest(self, at: Reference) -> State:
        """How far a state of the box can be from the known one."""
        return type(at.box)(*(up(bound + known.abs()) for bound, known in zip(at.box, at.after, strict=True)))

    def _norms(self, part: Tensor) -> Tensor:
        return up(torch.stack([torch.linalg.vector_norm(part[:, units], dim=1) for units in self.groups], dim=1))

    def moves(self, at: Reference, ball: Ball, below: Ball | None) -> tuple[list[Tensor], Tensor]:
        """How far W h can move through each group of units, and U x: (N, G) each."""
        read = torch.zeros_like(at.projected)
        if below is not None:
            read = up(torch.minimum(below.radius.h @ self.drive, below.norm[:, None] * self.drive_rows))
        parts = []
        if self.recurs:
            for number, units in enumerate(self.groups):
                by_rows = ball.radius.h[:, units] @ self.columns[number]
                parts.append(up(torch.minimum(by_rows, ball.norms[:, number, None] * self.rows[number])))
        return parts, read

    def several(self, at: Reference, k: int, ball: Ball, past: Sequence[Ball]) -> Ball:
        """The ball, or a smaller one by a bound of several steps at once.

        Args:
            at: all positions; the ball is of those from k on.
            past: the balls of 0, ..., k - 1, or the last ``STEPS`` of them.
        """
        return ball

    def advance(self, at: Reference, ball: Ball, below: Ball | None) -> Ball:
        """The ball after a step.

        Args:
            at: N positions.
            ball: around the state before each.
            below: around its input, where that is a state.
        """
        parts, read = self.moves(at, ball, below)
        recurrent = sum(parts) + at.noise if parts else at.noise
        centre, moved = at.projected + at.recurrent, recurrent + read
        low, high = torch.maximum(centre - moved, at.low), torch.minimum(centre + moved, at.high)
        radius, rest = self.step(at, ball.radius, recurrent, read, low, high)
        radius = type(radius)(
            *(torch.minimum(up(part), far) for part, far in zip(radius, self._farthest(at), strict=True))
        )
        norms = self._norms(radius.h)
        if self.direct is None or not parts:
            return Ball(radius, norms)
        d = self.cell.hidden_size
        here = slice(self.direct * d, (self.direct + 1) * d)
        steepness = self.chord(at, moved[:, here])
        through = []
        for number, units in enumerate(self.groups):
            others = sum(part for place, part in enumerate(parts) if place != number) + read + at.noise
            beside = rest[:, units] + (steepness * others[:, here])[:, units]
            gain = self._gain(at.gains[:, number], moved[:, here], units)
            through.append(gain * ball.norms[:, number] + torch.linalg.vector_norm(beside, dim=1))
        return Ball(radius, torch.minimum(norms, up(torch.stack(through, dim=1))))

    def _gain(self, gains: Tensor, moved: Tensor, units: Tensor) -> Tensor:
        """Of ``gains`` (N, sizes) those of the least size that covers how far the units move."""
        sizes = (moved / self._lengths())[:, units].amax(1)
        place = torch.bucketize(sizes, sizes.new_tensor(SIZES)).clamp_max(len(SIZES) - 1)
        return gains.gather(1, place[:, None])[:, 0]


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


def pieces(rows: Tensor, size: int) -> Sequence[Tensor]:
    """Rows (N, D), so many at a time as their matrices (size, size) fit into memory."""
    return rows.split(max(1, MATRICES // size**2))


def norms_of(matrices: Iterable[Tensor]) -> Tensor:
    """2-norms (N,) of matrices that come in batches, before they are rounded outward."""
    squares = torch.cat([torch.linalg.eigvalsh(matrix.mT @ matrix)[:, -1] for matrix in matrices])
    return squares.clamp_min(0).sqrt()


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


def tanh_chord(at: Tensor, moved: Tensor) -> Tensor:
    """The steepest chord of tanh from a point to any that lies within ``moved`` of it, rounded outward.

    Towards zero and beyond a chord is the steeper the longer it is, up to the one that is a tangent where it ends; that
    end is halved in on, and the slope of tanh on the side of zero of it is no smaller.
    """
    at = at.abs()
    value = torch.tanh(at)
    beyond, tangent = -at, torch.zeros_like(at)
    for _ in range(_HALVINGS):
        middle = (beyond + tangent) / 2
        steeper = value - torch.tanh(middle) < slope(middle) * (at - middle)
        tangent, beyond = torch.where(steeper, middle, tangent), torch.where(steeper, beyond, middle)
    end = at - moved
    chord = torch.where(moved > 1e-4, (value - torch.tanh(end)) / moved.clamp_min(1e-4) + 1e-11, 1.0)
    return up(torch.where(end >= tangent, torch.minimum(chord, slope(end.clamp_min(0))), slope(tangent))).clamp_max(1)


def slope(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x).square()
