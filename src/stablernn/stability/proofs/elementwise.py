"""Proofs for cells whose units depend on their own past alone: |δh'_j| <= λ_j |δh_j|, so that λ is the largest λ_j.

Each holds in the 2-norm, and in the ∞-norm with each unit measured by the largest |h_j| it can reach.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from stablernn.models.cells.elementwise import InputGatedCell
from stablernn.models.cells.indrnn import IndRNNCell
from stablernn.models.cells.min_gru import MinGRUCell
from stablernn.models.cells.min_lstm import MinLSTMCell
from stablernn.models.cells.state import RNNState
from stablernn.stability.proofs.gates import (
    UNDERFLOW,
    Reach,
    Seen,
    input_reach,
    sigmoid_slope,
    term_sizes,
)
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import LEAST_MARGIN

_LEAST = 1e-30  # of a unit that never moves: no norm divides by zero


@prove.register
def prove_indrnn(cell: IndRNNCell, inputs: Seen, dropout: float) -> CellProofs:
    """λ_j = |u_j|, as relu is 1-Lipschitz. From zero, 0 <= h_j <= max p_j / (1 - max(u_j, 0)) with p = U x + b."""
    weight = cell.weight_hh.detach().double()
    rate = up(float(weight.abs().max()))
    bounds = {"max |u|": float(weight.abs().max())}
    if rate >= 1 - LEAST_MARGIN:
        reason = f"max |u_j| = {rate:.6g} is not below 1: a unit need not forget"
        return CellProofs([Contraction("2-norm", rate, reason)], bounds)
    reach = _reach(cell, inputs, dropout)
    # u_j < 1 - LEAST_MARGIN is known exactly, so that 1 - u_j is right to rounding
    h = reach.high.clamp_min(0) / (1 - weight.clamp_min(0)) * (1 + OUTWARD)
    drive = cell.weight_ih.detach().double().abs()
    return _proofs(rate, h, bounds | {"max |h|": float(h.max())}, lambda change: drive @ change)


@prove.register
def prove_min_gru(cell: MinGRUCell, inputs: Seen, dropout: float) -> CellProofs:
    """λ_j = max (1 - z_j) over the inputs: below 1 for every finite or bounded set of them, whatever the weights."""
    (low_z, low_h), (high_z, high_h) = (edge.chunk(2) for edge in _reach(cell, inputs, dropout))
    slope = sigmoid_slope(torch.zeros_like(low_z).clamp(low_z, high_z))
    by_gate, by_candidate = cell.weight_ih.detach().double().abs().chunk(2)
    return _of_mixture(
        least=torch.sigmoid(low_z),
        stays=torch.sigmoid(-low_z),
        most=torch.sigmoid(high_z),
        h=torch.maximum(high_h, -low_h),
        moves=lambda change: slope * (by_gate @ change),
        candidate=by_candidate,
    )


@prove.register
def prove_min_lstm(cell: MinLSTMCell, inputs: Seen, dropout: float) -> CellProofs:
    """λ_j = max f / (f + i), from the ranges of f and i over the inputs, each on its own.

    i' = i / (f + i) moves with log i - log f by at most a quarter, and log σ(a) with a by at most 1.
    """
    (low_f, low_i, low_h), (high_f, high_i, high_h) = (edge.chunk(3) for edge in _reach(cell, inputs, dropout))

    def log(low: Tensor, high: Tensor) -> Tensor:
        """The least of log i - log f."""
        return torch.nn.functional.logsigmoid(low) - torch.nn.functional.logsigmoid(high)

    low, high = log(low_i, high_f), -log(low_f, high_i)
    by_f, by_i, by_candidate = cell.weight_ih.detach().double().abs().chunk(3)
    return _of_mixture(
        least=torch.sigmoid(low),
        stays=torch.sigmoid(-low),
        most=torch.sigmoid(high),
        h=torch.maximum(high_h, -low_h),
        moves=lambda change: (by_f @ change + by_i @ change) / 4,
        candidate=by_candidate,
    )


def _reach(cell: IndRNNCell | InputGatedCell, inputs: Seen, dropout: float) -> Reach:
    return widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))


def _of_mixture(
    least: Tensor, stays: Tensor, most: Tensor, h: Tensor, moves: Callable[[Tensor], Tensor], candidate: Tensor
) -> CellProofs:
    """For h' = (1 - z) h + z h~ with gate and candidate of the input alone.

    |h'| never exceeds H, the largest |h~|, and another input moves h' by z |δh~| + |h~ - h| |δz| <= z |δh~| + 2 H |δz|.

    Args:
        least, most: of z, (D,).
        stays: the largest 1 - z.
        h: H, the largest |h~|.
        moves: elementwise bound of a change of the input (E,) -> bound of that of z.
        candidate: |U_h|, (D, E).
    """
    rate = up(float(stays.max()))
    h = h * (1 + OUTWARD)
    bounds = {"least z": float(least.min()), "median least z": float(least.median()), "max |h|": float(h.max())}
    if rate >= 1 - LEAST_MARGIN:
        reason = f"a gate closes to within {LEAST_MARGIN:g}: its unit need not forget"
        return CellProofs([Contraction("2-norm", rate, reason)], bounds, RNNState(h))
    return _proofs(rate, h, bounds, lambda change: most * (candidate @ change) + 2 * h * moves(change))


def _proofs(rate: float, h: Tensor, bounds: dict[str, float], moved: Callable[[Tensor], Tensor]) -> CellProofs:
    """In both norms; ``moved`` bounds what a change of the input (E,) does to h' (D,)."""
    h = h.clamp_min(UNDERFLOW)
    box = RNNState(h)
    norms = {
        "2-norm": StateNorm(2, RNNState(torch.ones_like(h))),
        "weighted ∞-norm": StateNorm(math.inf, RNNState(1 / h.clamp_min(_LEAST))),
    }

    def candidate(name: str, norm: StateNorm) -> Contraction:
        def input_gain(change: Tensor) -> float:
            return norm.over(RNNState(moved(change.double())))

        return Contraction(name, rate, "", norm, norm.over(box), input_gain)

    return CellProofs([candidate(name, norm) for name, norm in norms.items()], bounds, box)
