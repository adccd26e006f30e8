"""Proofs that a tanh-RNN is contractive."""

import math

import torch
from torch import Tensor

from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import RNNState
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.spectral import balance
from stablernn.stability.proofs.gates import UNDERFLOW, Reach, Seen, input_reach, tanh_slope, term_sizes
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.quadratic import best_weights, full_norms
from stablernn.stability.proofs.rates import least_rate, perron, rates, spectral_radius

_ROUNDS = 4
_LEAST_NORM = 1e-150


@prove.register
def prove_rnn(cell: RNNCell, inputs: Seen, dropout: float) -> CellProofs:
    """h' = tanh(W h + U x + b): |δh'| <= diag(s) |W δh|, s_j the steepest slope that unit j can reach (at most 1)."""
    weight = cell.weight_hh.detach().double()
    reach = widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))
    hidden, slopes = squashed(reach, weight.abs())
    scaled = slopes[:, None] * weight
    drive = slopes[:, None] * cell.weight_ih.detach().double().abs()

    def contraction(name: str, rate: float, norm: StateNorm, reason: str) -> Contraction:
        if rate >= 1:
            return Contraction(name, rate, reason)
        radius = norm.over(RNNState(hidden))
        return Contraction(name, rate, "", norm, radius, lambda change: norm.over(RNNState(drive @ change.double())))

    plain = StateNorm(2, RNNState(torch.ones_like(hidden)))
    rate = norm_of(scaled)
    candidates = [contraction("2-norm", rate, plain, f"‖W‖_2 = {rate:.4g} is not below 1")]
    for weights in (balance(scaled), balance(weight)):
        rate = norm_of(weights[:, None] * scaled / weights)
        candidates.append(
            contraction(
                "weighted 2-norm",
                rate,
                StateNorm(2, RNNState(weights)),
                f"‖D W D⁻¹‖_2 = {rate:.4g} is not below 1 for the D that balances W",
            )
        )
    least = least_rate(0.0, lambda rate: perron(scaled.abs(), rate) is not None)
    if least is None:
        radius = spectral_radius(scaled.abs())
        reason = f"no weights w make the rows of |W| w shorter than w: its spectral radius is {radius:.4g}"
        candidates.append(Contraction("weighted ∞-norm", up(radius), reason))
    else:
        for rate in rates(least):
            weights = perron(scaled.abs(), rate)
            if weights is not None:
                candidates.append(contraction("weighted ∞-norm", rate, StateNorm(math.inf, RNNState(1 / weights)), ""))
    bounds = {"‖W‖_2": spectral_norm(weight), "‖W‖_∞": float(weight.abs().sum(1).max()), "max |h|": float(hidden.max())}

    def searched() -> list[Contraction]:
        found: list[tuple[str, float, StateNorm]] = [
            ("best weighted 2-norm", norm_of(weights[:, None] * scaled / weights), StateNorm(2, RNNState(weights)))
            for weights in best_weights(scaled)
        ]
        found += [("quadratic norm", rate, norm) for rate, norm in full_norms(scaled)]
        return [
            contraction(name, rate, norm, f"the least rate found in a {name} is {rate:.4g} and must be below 1")
            for name, rate, norm in found
        ]

    return CellProofs(candidates, bounds, RNNState(hidden), searched)


def squashed(reach: Reach, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of |h_j| and of the slope of tanh in h' = tanh(a + p) with |a| <= weight |h|: (D,) each.

    Args:
        reach: of p, the input product.
        weight: nonnegative, (D, D).
    """
    hidden = weight.new_ones(len(weight))
    for _ in range(_ROUNDS):
        spread = weight @ hidden
        hidden = torch.tanh(torch.maximum(reach.high + spread, spread - reach.low)) * (1 + OUTWARD)
    low, high = reach.low - spread, reach.high + spread
    return hidden, (tanh_slope(torch.zeros_like(low).clamp(low, high)) * (1 + OUTWARD)).clamp_min(UNDERFLOW)


def norm_of(matrix: Tensor) -> float:
    """‖·‖_2 rounded outward; float64 may round the squares of a tiny one to zero."""
    return up(max(spectral_norm(matrix), _LEAST_NORM)) if bool(matrix.any()) else 0.0
