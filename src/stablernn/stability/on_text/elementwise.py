"""Bounds propagated through a step of the cells whose units depend on their own past alone: see ``propagation``.

Gates that see the input alone are known wherever the input is: in the first layer the bound of a mean as
h' = (1 - z) h + z h~ is the product of the 1 - z that were, whatever the weights and without any constraint.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from stablernn.models.cells.elementwise import ElementwiseCell
from stablernn.models.cells.indrnn import IndRNNCell
from stablernn.models.cells.min_gru import MinGRUCell
from stablernn.models.cells.min_lstm import MinLSTMCell
from stablernn.models.cells.qrnn import QRNNCell, QRNNState
from stablernn.models.cells.sru import SRUCell
from stablernn.models.cells.state import LSTMState, RNNState, State, map_state
from stablernn.stability.on_text.propagation import (
    TINY,
    Ball,
    BoundPropagation,
    Reference,
    deviation,
    product_deviation,
    propagation,
    up,
)
from stablernn.stability.proofs.gates import ROUNDING
from stablernn.stability.proofs.norms import CellProofs

Interval = tuple[Tensor, Tensor, Tensor]  # low, known, high


class ElementwisePropagation(BoundPropagation):
    """A cell of which each unit's pre-activations are U x + b, and a multiple of what it remembers itself."""

    def __init__(self, cell: ElementwiseCell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
        rows = self.input_rows()
        self.drive = rows.abs().T.contiguous()
        self.drive_rows = up(rows.norm(dim=1))
        self.groups = [torch.arange(cell.hidden_size, device=rows.device)]

    def input_rows(self) -> Tensor:
        """U (G, E)."""
        return self.cell.weight_ih

    def products(self, projected: Tensor) -> Tensor:
        """U x + b (..., G) of what the cell projects."""
        return projected

    def remembered(self, state: Any) -> Tensor:
        """What a state adds to U x + b, (N, G)."""
        return state.h.new_zeros(len(state.h), len(self.drive_rows))

    def moved(self, radius: Any) -> Tensor:
        """How far states that differ by ``radius`` move what they add, (N, G)."""
        return self.remembered(radius)

    @abstractmethod
    def box(self, low: Tensor, high: Tensor, before: Any, x: Tensor) -> State:
        """Bounds of |state| after a step.

        Args:
            low, high: of the pre-activations, (1, G).
            before: bounds of |state|.
            x: of |x|, (1, E).
        """

    @abstractmethod
    def step(self, at: Reference, radius: Any, pre: Interval, below: Tensor) -> State:
        """Radii after a step.

        Args:
            at: N positions.
            radius: before it.
            pre: where the pre-activations can be, (N, G).
            below: how far the inputs can move, (N, E).
        """

    def follow(self, x: Tensor, state: State, before: State, below: Tensor | None, norms: bool = True) -> Reference:
        projected = self.cell.project_inputs(x)
        earlier, after = self._path(projected, state)
        products, recurrent = self.products(projected), self.remembered(earlier)
        reach = x.abs() if below is None else below
        moved = torch.zeros_like(products) if below is None else (x.abs() + below) @ self.drive
        noise = ROUNDING * ((x.abs() + reach) @ self.drive + products.abs() + 1)
        lows, highs, boxes = [], [], []
        box = map_state(lambda part: part[None], before)
        for row, spread, own, entry in zip(products, moved, noise, reach, strict=True):
            terms = self.moved(box)
            spread = up(spread + terms) + own + ROUNDING * terms
            lows.append(row - spread)
            highs.append(row + spread)
            box = self.box(lows[-1], highs[-1], box, entry[None])
            box = type(box)(*(torch.minimum(up(part), most) for part, most in zip(box, self.bounds, strict=True)))
            boxes.append(box)
        box = type(state)(*(torch.cat(parts) for parts in zip(*boxes, strict=True)))
        noise = noise + ROUNDING * recurrent.abs()
        nothing = products[:, :0]
        return Reference(
            products, recurrent, torch.cat(lows), torch.cat(highs), noise, earlier, after, box, nothing, nothing
        )

    def advance(self, at: Reference, ball: Ball, below: Ball | None) -> Ball:
        moved = self.read(at, below) + up(self.moved(ball.radius)) + at.noise
        known = at.projected + at.recurrent
        pre = torch.maximum(known - moved, at.low), known, torch.minimum(known + moved, at.high)
        entry = at.projected.new_zeros(len(known), self.cell.input_size) if below is None else below.radius.h
        radius = self._within(at, self.step(at, ball.radius, pre, entry))
        return Ball(radius, self._norms(radius.h))


class InputGatedPropagation(ElementwisePropagation):
    """h' = (1 - z) h + z h~. A subclass knows z."""

    @abstractmethod
    def gates(self, pre: Interval) -> tuple[Interval, Interval]:
        """z and h~, of (N, D)."""

    def box(self, low: Tensor, high: Tensor, before: RNNState, x: Tensor) -> RNNState:
        (least, _, most), (low, _, high) = self.gates((low, low, high))
        candidate = torch.maximum(high, -low)
        ends = ((1 - z) * before.h + z * candidate for z in (least, most))
        return RNNState(torch.maximum(*ends))

    def step(self, at: Reference, radius: RNNState, pre: Interval, below: Tensor) -> RNNState:
        z, candidate = self.gates(pre)
        moved = _farther(candidate)
        return RNNState(product_deviation(z, moved, candidate[1] - at.before.h, radius.h))


@propagation.register(MinGRUCell)
class MinGRUPropagation(InputGatedPropagation):
    """z = σ(a_z), h~ = a_h."""

    def gates(self, pre: Interval) -> tuple[Interval, Interval]:
        z, candidate = _blocks(pre, 2)
        return _each(torch.sigmoid, z), candidate


@propagation.register(MinLSTMCell)
class MinLSTMPropagation(InputGatedPropagation):
    """z = i / (f + i) = σ(log i - log f), which grows with i and falls with f."""

    def gates(self, pre: Interval) -> tuple[Interval, Interval]:
        f, i, candidate = _blocks(pre, 3)
        low, at, high = (logsigmoid(one) - logsigmoid(other) for one, other in zip(i, reversed(f), strict=True))
        return _each(torch.sigmoid, (low - TINY, at, high + TINY)), candidate


@propagation.register(QRNNCell)
class QRNNPropagation(ElementwisePropagation):
    """c' = f c + (1 - f) tanh(a_z), h' = o c', with inputs before the k last ones that may be any of the box."""

    cell: QRNNCell

    def __init__(self, cell: QRNNCell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
        # Those of the proofs are of inputs that occur, of which a corner of the box of ``seen`` may be none.
        self.bounds = self.bounds._replace(
            h=torch.ones_like(self.bounds.h),
            c=torch.ones_like(self.bounds.c),
            seen=torch.full_like(self.bounds.seen, math.inf),
        )

    def products(self, projected: Tensor) -> Tensor:
        return projected[..., : len(self.drive_rows)]

    def remembered(self, state: QRNNState) -> Tensor:
        return state.seen @ self.cell.weight_sh.T

    def moved(self, radius: QRNNState) -> Tensor:
        return radius.seen @ self.cell.weight_sh.abs().T

    def box(self, low: Tensor, high: Tensor, before: QRNNState, x: Tensor) -> QRNNState:
        z, f, o = _blocks((low, low, high), 3)
        written = torch.tanh(torch.maximum(z[2], -z[0]))
        c = torch.maximum(*(gate * before.c + (1 - gate) * written for gate in map(torch.sigmoid, (f[0], f[2]))))
        return QRNNState(torch.sigmoid(o[2]) * c, c, _shifted(x, before.seen))

    def step(self, at: Reference, radius: QRNNState, pre: Interval, below: Tensor) -> QRNNState:
        p_z, f, o = _blocks(pre, 3)
        z = torch.tanh(p_z[1])
        stays = _each(torch.sigmoid, f)
        c = product_deviation(stays, radius.c, at.before.c - z, deviation(torch.tanh, *p_z))
        h = product_deviation(_each(torch.sigmoid, o), c, at.after.c)
        return QRNNState(h, c, _shifted(below, radius.seen))


@propagation.register(SRUCell)
class SRUPropagation(ElementwisePropagation):
    """c' = f c + (1 - f) a_z, h' = r c' + (1 - r) a_x, with gates that see c where there are peepholes."""

    cell: SRUCell

    def __init__(self, cell: SRUCell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
        self.peepholes = torch.cat([part.double() for part in cell.peepholes()]).detach()

    def input_rows(self) -> Tensor:
        return torch.cat([self.cell.weight_ih, self.cell.highway()])

    def remembered(self, state: LSTMState) -> Tensor:
        return self._through(self.peepholes, state)

    def moved(self, radius: LSTMState) -> Tensor:
        return self._through(self.peepholes.abs(), radius)

    def _through(self, peepholes: Tensor, state: LSTMState) -> Tensor:
        gates = peepholes * state.c.repeat(1, 2)
        return torch.cat([gates, torch.zeros_like(gates)], dim=1)

    def box(self, low: Tensor, high: Tensor, before: LSTMState, x: Tensor) -> LSTMState:
        f, r, z, past = _blocks((low, low, high), 4)
        written, skipped = (torch.maximum(part[2], -part[0]) for part in (z, past))
        c = torch.maximum(*(gate * before.c + (1 - gate) * written for gate in map(torch.sigmoid, (f[0], f[2]))))
        h = torch.maximum(*(gate * c + (1 - gate) * skipped for gate in map(torch.sigmoid, (r[0], r[2]))))
        return LSTMState(h, c)

    def step(self, at: Reference, radius: LSTMState, pre: Interval, below: Tensor) -> LSTMState:
        p_f, p_r, z, past = _blocks(pre, 4)
        f, r = _each(torch.sigmoid, p_f), _each(torch.sigmoid, p_r)
        c = product_deviation(f, radius.c, at.before.c - z[1], _farther(z))
        h = product_deviation(r, c, at.after.c - past[1], _farther(past))
        return LSTMState(h, c)


@propagation.register(IndRNNCell)
class IndRNNPropagation(ElementwisePropagation):
    """h' = relu(u h + a), which no state moves where relu is off for the whole box; h is never negative."""

    def remembered(self, state: RNNState) -> Tensor:
        return self.cell.weight_hh * state.h

    def moved(self, radius: RNNState) -> Tensor:
        return self.cell.weight_hh.abs() * radius.h

    def box(self, low: Tensor, high: Tensor, before: RNNState, x: Tensor) -> RNNState:
        return RNNState(torch.relu(high))

    def step(self, at: Reference, radius: RNNState, pre: Interval, below: Tensor) -> RNNState:
        return RNNState(deviation(torch.relu, *pre))


def _blocks(pre: Interval, count: int) -> list[Interval]:
    """The blocks of rows, each with its ends."""
    return list(zip(*(part.chunk(count, dim=1) for part in pre), strict=True))


def _each(function: Callable[[Tensor], Tensor], interval: Interval) -> Interval:
    low, at, high = map(function, interval)
    return low, at, high


def _farther(interval: Interval) -> Tensor:
    """How far from what is known the ends lie."""
    low, at, high = interval
    return torch.maximum(high - at, at - low)


def _shifted(x: Tensor, seen: Tensor) -> Tensor:
    """Of the last inputs (N, (width - 1) E) after one more of them, (N, E)."""
    return torch.cat([x, seen], dim=1)[:, : seen.shape[1]]
