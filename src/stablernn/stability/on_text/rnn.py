"""Bounds propagated through a step of the tanh-RNN (see ``matrices``), also in a quadratic norm that proves it stable.

With ‖δ‖² = gᵀPg for g = w ⊙ δ, B = diag(w) W diag(w)⁻¹, and d in [0, s] the chords from the known point, a step makes
of g some q with q_j between 0 and s_j (B g)_j. For any Λ with 2Λ - P > 0, as q_j (s_j (B g)_j - q_j) >= 0,

    qᵀPq <= 2 qᵀΛ diag(s) B g - qᵀ(2Λ - P)q <= ‖(2Λ - P)^-½ Λ diag(s) B P^-½‖_2² gᵀPg.

P and Λ are those of the proof for all inputs, with which s = 1 gives λ; the text gives smaller s, position by position.

Norms of steps multiply to far more than the norm of their product. Once a ball is small, a step is nearly the linear
map J = diag(1 - tanh²) W at the known point: δ' = J δ + e with |e_j| at most the change of the slope times how far the
pre-activation moves. So over ``STEPS`` steps

    ‖δ_t‖ <= ‖J_t ... J_u‖ ‖δ_u-1‖ + Σ_i ‖J_t‖ ... ‖J_i+1‖ ‖e_i‖.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import RNNState
from stablernn.stability.on_text.matrices import (
    MATRICES,
    SIZES,
    MatrixPropagation,
    norms_of,
    pieces,
    slope,
    tanh_chord,
)
from stablernn.stability.on_text.propagation import STEPS, TINY, Ball, Reference, deviation, propagation, up
from stablernn.stability.proofs.gates import ROUNDING
from stablernn.stability.proofs.norms import CellProofs
from stablernn.stability.proofs.quadratic import QuadraticNorm


@propagation.register(RNNCell)
class RNNPropagation(MatrixPropagation):
    """h' = tanh(p)."""

    direct = 0

    def __init__(self, cell: RNNCell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
        found = [(at.rate, at.norm) for at in proofs.candidates if at.holds and isinstance(at.norm, QuadraticNorm)]
        self.quadratic = None
        if found and self.recurs:
            _, norm = min(found, key=lambda pair: pair[0])
            self.quadratic = _Quadratic(self.cell.weight_hh, norm, self.groups)

    def box(self, low: Tensor, high: Tensor, before: RNNState) -> RNNState:
        return RNNState(torch.minimum(up(torch.tanh(torch.maximum(high, -low))), self.bounds.h))

    def step(
        self, at: Reference, radius: RNNState, recurrent: Tensor, read: Tensor, low: Tensor, high: Tensor
    ) -> tuple[RNNState, Tensor]:
        moved = deviation(torch.tanh, low, at.projected + at.recurrent, high)
        return RNNState(moved), torch.zeros_like(moved)

    def chord(self, at: Reference, moved: Tensor) -> Tensor:
        return tanh_chord(at.projected + at.recurrent, moved)

    def follow(
        self, x: Tensor, state: RNNState, before: RNNState, below: Tensor | None, norms: bool = True
    ) -> Reference:
        at = super().follow(x, state, before, below, norms)
        if self.quadratic is None or not norms:
            return at
        steepness = (self.chord(at, torch.full_like(at.after.h, size) * self._lengths()) for size in SIZES)
        gains = torch.stack([self.quadratic.gains(some) for some in steepness], 1).cummax(1).values
        linear = self.quadratic.linear(slope(at.projected + at.recurrent))
        return at._replace(gains=torch.cat([at.gains, gains[:, None]], 1), linear=linear)

    def whole(self, at: Reference) -> Ball:
        ball = super().whole(at)
        if self.quadratic is None:
            return ball
        norm = self.quadratic.of(ball.radius.h)
        return self._cut(ball, norm, torch.zeros_like(norm))

    def advance(self, at: Reference, ball: Ball, below: Ball | None) -> Ball:
        after = super().advance(at, ball, below)
        if self.quadratic is None or not ball.quadratic:
            return after
        parts, read = self.moves(at, ball, below)
        before, beside = ball.quadratic[0], read + at.noise
        moved = up(torch.minimum(torch.stack(parts).sum(0), before[:, None] * self.quadratic.rows) + beside)
        centre = at.projected + at.recurrent
        steepest, here = tanh_chord(centre, moved), slope(centre)
        through = self._gain(at.gains[:, -1], moved, torch.arange(len(self.quadratic.rows), device=moved.device))
        radius = torch.minimum(after.radius.h, up(steepest * moved))
        stepped = through * before + self.quadratic.of(steepest * beside + TINY)
        change = torch.maximum(steepest - here, here - slope(centre.abs() + moved)).clamp_min(0) + TINY
        error = self.quadratic.of(change * moved + here * beside + TINY)
        ball = after._replace(radius=RNNState(radius))
        return self._cut(ball, torch.minimum(up(stepped), self.quadratic.of(radius)), error)

    def several(self, at: Reference, k: int, ball: Ball, past: Sequence[Ball]) -> Ball:
        if not ball.quadratic or len(past) < STEPS:
            return ball
        norm, error = ball.quadratic
        count, (one, all_of_them) = len(norm), at.linear.unbind(1)
        bound = all_of_them[k:] * past[-STEPS].quadratic[0][:count]
        grown = torch.ones_like(norm)
        for back, added in enumerate([ball, *reversed(past)][:STEPS]):
            bound = bound + grown * added.quadratic[1][:count]
            grown = grown * one[k - back : k - back + count]
        return self._cut(ball, torch.minimum(norm, up(bound)), error)

    def _cut(self, ball: Ball, norm: Tensor, error: Tensor) -> Ball:
        """The ball, cut by its quadratic norm."""
        assert self.quadratic is not None
        radius = torch.minimum(ball.radius.h, up(norm[:, None] * self.quadratic.entries))
        return Ball(
            RNNState(radius), torch.minimum(ball.norms, up(norm[:, None] * self.quadratic.groups)), (norm, error)
        )


class _Quadratic:
    """A quadratic norm of δ (D,), and of a recurrent matrix in its coordinates P^½ g.

    Attributes:
        rows: |W_j δ| <= rows_j ‖δ‖, (D,).
        entries: |δ_j| <= entries_j ‖δ‖, (D,).
        groups: ‖δ‖_2 of each group of units, likewise, (groups,).
    """

    def __init__(self, weight: Tensor, norm: QuadraticNorm, groups: Sequence[Tensor]) -> None:
        self.weights = norm.weights.h
        self.largest = math.sqrt(norm.largest)
        values, vectors = torch.linalg.eigh(norm.matrix)
        inverse = (vectors / values.sqrt()) @ vectors.T
        self.root = (vectors * values.sqrt()) @ vectors.T
        self.left = (vectors * (norm.multiplier / (2 * norm.multiplier - values).sqrt())) @ vectors.T
        self.right = (self.weights[:, None] * weight / self.weights) @ inverse
        back = inverse / self.weights[:, None]
        self.rows = up(self.right.norm(dim=1) / self.weights)
        self.entries = up(back.norm(dim=1))
        self.groups = up(torch.stack([torch.linalg.matrix_norm(back[units], 2) for units in groups]))

    def of(self, radius: Tensor) -> Tensor:
        """A bound (N,) of the norm of what lies within radii (N, D)."""
        return up(self.largest * torch.linalg.vector_norm(self.weights * radius, dim=1))

    def gains(self, steepest: Tensor) -> Tensor:
        """By how much a step can multiply the norm, with chords from 0 to ``steepest`` (T, D): (T,)."""
        size = len(self.rows)
        return up(norms_of(self.left @ (some[:, :, None] * self.right) for some in pieces(steepest, size)))

    def linear(self, slopes: Tensor) -> Tensor:
        """Norms of the linear map of one step, and of ``STEPS`` that end there: (T, 2), infinite without so many."""
        found = []
        size, lead = max(STEPS, MATRICES // self.root.numel()), STEPS - 1
        for start in range(0, len(slopes), size):
            first = max(0, start - lead)
            maps = self.root @ (slopes[first : start + size, :, None] * self.right)
            one = norms_of([maps])
            several = torch.full_like(one, math.inf)
            if len(maps) > lead:
                products, span = maps, 1
                while span < STEPS:
                    products, span = products[span:] @ products[:-span], 2 * span
                # What float64 rounds a product by is no share of it, where its factors are larger.
                rounding = ROUNDING * up(one).unfold(0, STEPS, 1).prod(1)
                several[lead:] = norms_of([products]) + rounding
            found.append(up(torch.stack([one, several], 1))[start - first :])
        return torch.cat(found)
