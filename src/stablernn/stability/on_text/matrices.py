"""Bounds propagated through cells with recurrent matrices (``propagation`` says what is bounded).

Row sums of |W| overrate a matrix whose 2-norm is small. So ‖δh‖_2 <= n is bounded beside, group by group of the cascade
that the zeros of the matrices make, and row j of W δh is at most the lesser of (|W| r)_j and ‖W_j‖_2 n. Where a gate
passes its pre-activation to h in the same step (the RNN itself, the output gate),

    ‖δh'‖_2 <= ‖diag(d) W‖_2 ‖δh‖_2 + what does not come through it,

with d_j the steepest chord of the gate from the known point. The norms are computed at each position for a few sizes of
δh, and for all in between the next larger one counts.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State
from stablernn.stability.on_text.propagation import Ball, BoundPropagation, Reference, up
from stablernn.stability.proofs.gates import ROUNDING
from stablernn.stability.proofs.norms import CellProofs
from stablernn.stability.proofs.rates import MOST_PLACES, levels

SIZES = (0.05, 0.5, math.inf)  # of W_j δh, in units of ‖W_j‖_2, for which norms are computed
_WEAK = 0.5  # a gain below this is not worth the exact norm
_LEAST_ROW = 1e-2  # of the largest norm of a row: shorter rows count as so long
MATRICES = 2**21  # numbers in the matrices whose norms are computed together
_HALVINGS = 12


class MatrixPropagation(BoundPropagation):
    """A cell whose h is multiplied by recurrent matrices. A subclass knows the equations.

    Attributes:
        direct: the block of rows whose pre-activation moves h in the same step; None: there is none.
        steepest: the largest slope of its gate.
    """

    direct: ClassVar[int | None] = None
    steepest: ClassVar[float] = 1.0

    def __init__(self, cell: Cell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
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
        cell = self.cell
        projected = cell.project_inputs(x)
        earlier, after = self._path(projected, state)
        biases = sum(bias.abs() for bias in (cell.bias_ih, cell.bias_hh))
        whole = cell.weight_hh.abs().sum(1)
        noise = ROUNDING * (x.abs() @ self.drive + biases + whole + 1)
        moved = 0.0 if below is None else (x.abs() + below) @ self.drive
        spread = up(cell.weight_hh.abs() @ self.bounds.h + moved) + noise
        low, high = projected - spread, projected + spread
        box = self.box(low, high, before)
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

    def moves(self, at: Reference, ball: Ball, below: Ball | None) -> tuple[list[Tensor], Tensor]:
        """How far W h can move through each group of units, and U x: (N, G) each."""
        parts = []
        if self.recurs:
            for number, units in enumerate(self.groups):
                by_rows = ball.radius.h[:, units] @ self.columns[number]
                parts.append(up(torch.minimum(by_rows, ball.norms[:, number, None] * self.rows[number])))
        return parts, self.read(at, below)

    def advance(self, at: Reference, ball: Ball, below: Ball | None) -> Ball:
        parts, read = self.moves(at, ball, below)
        recurrent = sum(parts) + at.noise if parts else at.noise
        centre, moved = at.projected + at.recurrent, recurrent + read
        low, high = torch.maximum(centre - moved, at.low), torch.minimum(centre + moved, at.high)
        radius, rest = self.step(at, ball.radius, recurrent, read, low, high)
        radius = self._within(at, radius)
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


def pieces(rows: Tensor, size: int) -> Sequence[Tensor]:
    """Rows (N, D), so many at a time as their matrices (size, size) fit into memory."""
    return rows.split(max(1, MATRICES // size**2))


def norms_of(matrices: Iterable[Tensor]) -> Tensor:
    """2-norms (N,) of matrices that come in batches, before they are rounded outward."""
    squares = torch.cat([torch.linalg.eigvalsh(matrix.mT @ matrix)[:, -1] for matrix in matrices])
    return squares.clamp_min(0).sqrt()


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
