"""Proof that a GRU is contractive, after Bonassi, Farina & Scattolini (arXiv 2011.06806), but unit by unit.

They prove incremental input-to-state stability of the GRU that applies the reset gate before the recurrent product,
with norms of whole matrices. This is derived anew for PyTorch's, which applies it after, and in a weighted norm. With
H_j >= |h_j|, which every state reached from zero keeps to, as h' lies between n and h: H_j = max |n_j|. With
m = W_n h + b_hn, the Jacobian of a step has the rows

    z e + (1 - z) n' (r W_n + m r (1 - r) W_r) + z (1 - z) (h - n) W_z

all at one state and one input, so that the factor 1 - z is common: with δ the difference of two states and w the
weights of an ∞-norm in which ‖δ‖ = 1, by the mean value theorem

    |δh'_j| <= w_j - (1 - z_j) (w_j - A_j - z_j B_j),    A = n' (r |W_n| + |m| r (1 - r) |W_r|) w,    B = 2 H |W_z| w.

Both factors of the product fall with z, so what holds at the largest z_j holds at all of them: the step contracts at
the rate λ where T w <= λ w for the matrix T with the rows z e + (1 - z) (A + z B) at the bounds. Where a unit remembers
for long, its drive is damped as much, and its recurrent weights need not vanish.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.state import RNNState
from stablernn.stability.constraints.base import infinity_norm
from stablernn.stability.proofs.gates import Reach, Seen, input_reach, sigmoid_slope, tanh_slope, term_sizes
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import least_rate, perron, rates, spectral_radius

_ROUNDS = 4
_NORM = "weighted ∞-norm"


class _Bounds(NamedTuple):
    """For each unit, (D,) each, rounded outward.

    z and h bound the update gate and |h|, least_z is z from below. ``by_*`` bound how fast n moves with m and with the
    pre-activations of r and n, and h' with that of z.
    """

    z: Tensor
    least_z: Tensor
    h: Tensor
    by_m: Tensor
    by_r: Tensor
    by_n: Tensor
    by_z: Tensor


@prove.register
def prove_gru(cell: GRUCell, inputs: Seen, dropout: float) -> CellProofs:
    """See ``prove``."""
    reach = widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))
    bounds = _bounds(cell, reach, torch.ones_like(cell.reset_bias, dtype=torch.float64))
    for _ in range(_ROUNDS - 1):
        bounds = _bounds(cell, reach, bounds.h)
    d = cell.hidden_size
    recurrent, drive = (weight.detach().double().abs().view(3, d, -1) for weight in (cell.weight_hh, cell.weight_ih))
    z = bounds.z
    factors = torch.stack([bounds.by_r, 2 * z * bounds.h, bounds.by_m])
    step = (1 - z)[:, None] * (factors[:, :, None] * recurrent).sum(0)
    step.diagonal().add_(z)
    box = RNNState(bounds.h)

    def contraction(rate: float, weights: Tensor) -> Contraction:
        norm = StateNorm(math.inf, RNNState(1 / weights))

        def input_gain(change: Tensor) -> float:
            r, z, n = drive @ change.double()
            candidate = (1 - bounds.least_z) * (bounds.by_n * n + bounds.by_r * r)
            return up(float(norm(RNNState(candidate + bounds.by_z * z))))

        return Contraction(_NORM, rate, "", norm, up(float(norm(box))), input_gain)

    least = least_rate(0.0, lambda rate: perron(step, rate) is not None)
    if least is None:
        reason = f"the rate in the best {_NORM} is {spectral_radius(step):.4g} and must be below 1"
        candidates = [Contraction(_NORM, math.inf, f"{reason} (z_∞ = {float(z.max()):.4f})")]
    else:
        result = ((rate, perron(step, rate)) for rate in rates(least))
        candidates = [contraction(rate, weights) for rate, weights in result if weights is not None]
    rests_on = {"z_∞": float(z.max()), "median z_j": float(z.median()), "max |h|": float(bounds.h.max())}
    rests_on |= {f"‖{name}‖_∞": infinity_norm(block) for name, block in cell.recurrent_blocks().items()}
    return CellProofs(candidates, rests_on, box)


def _bounds(cell: GRUCell, reach: Reach, hidden: Tensor) -> _Bounds:
    """From the range of U x + b over the inputs and a bound of |h|, which ``h`` of the result is no larger than."""
    weight, bias = cell.weight_hh.detach().double().abs(), cell.reset_bias.detach().double()
    low_r, low_z, low_x = reach.low.chunk(3)
    high_r, high_z, high_x = reach.high.chunk(3)
    of_r, of_z, of_m = (weight @ hidden * (1 + OUTWARD)).chunk(3)
    low_r, low_z, low_m = low_r - of_r, low_z - of_z, bias - of_m
    high_r, high_z, high_m = high_r + of_r, high_z + of_z, bias + of_m
    r, least_r = torch.sigmoid(high_r) * (1 + OUTWARD), torch.sigmoid(low_r) * (1 - OUTWARD)
    low_n = low_x + torch.minimum(r * low_m, least_r * low_m)
    high_n = high_x + torch.maximum(r * high_m, least_r * high_m)
    h = torch.minimum(hidden, torch.tanh(torch.maximum(high_n, -low_n)) * (1 + OUTWARD))
    zero = torch.zeros_like(bias)  # where slopes are greatest
    by_n = tanh_slope(zero.clamp(low_n, high_n)) * (1 + OUTWARD)
    slope_r, slope_z = (
        sigmoid_slope(zero.clamp(low, high)) * (1 + OUTWARD) for low, high in ((low_r, high_r), (low_z, high_z))
    )
    return _Bounds(
        z=(torch.sigmoid(high_z) * (1 + OUTWARD)).clamp_max(1),
        least_z=torch.sigmoid(low_z) * (1 - OUTWARD),
        h=h,
        by_m=by_n * r,
        by_r=by_n * torch.maximum(high_m, -low_m) * slope_r,
        by_n=by_n,
        by_z=2 * h * slope_z,
    )
