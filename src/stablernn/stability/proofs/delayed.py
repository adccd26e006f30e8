"""Proofs for cells that read their own outputs of some steps ago (``models.cells.delayed``).

Let |δh_t| <= Σ_d A_d |δh_{t-d}| with nonnegative matrices A_d, unit by unit. A state is the last n outputs, and a
difference in it grows no older without growing smaller: the norm gives an output of age i (0 for the latest) the weight
r^i, and so r is the rate of the whole, if

- weighted ∞-norm: weights v > 0 of the units exist with Σ_d r^-d A_d v <= v. Then
  ‖s‖ = max_ij |h_{t-i,j}| r^i / v_j.
- 2-norm, where |δh_t| <= |Σ_d W_d δh_{t-d}|: ‖[W_d r^-d / √p_d]_d‖_2 <= 1 for shares p_d > 0 with the sum 1. By Cauchy
  and Schwarz |δh_t|² <= Σ_d p_d r^2d |δh_{t-d}|², and so ‖s‖² = Σ_i r^2i (Σ_{d>i} p_d) |h_{t-i}|². With shares as
  ‖W_d‖_2 r^-d the condition is (Σ_d ‖W_d‖_2 r^-d) ‖Σ_d W_d W_dᵀ r^-d / ‖W_d‖_2‖_2 <= 1: Σ_d ‖W_d‖_2 r^-d <= 1 is
  enough. Of a single delay d the rate is ‖W‖_2^(1/d).
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from stablernn.models.cells.delayed import DelayedCell, DelayedState
from stablernn.models.cells.mist import MISTCell
from stablernn.models.cells.narx import NARXCell
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.delayed import scales, shares, stacked
from stablernn.stability.constraints.spectral import balance
from stablernn.stability.proofs.gates import Reach, Seen, input_reach, sigmoid_slope, term_sizes
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import least_rate, perron, rates, spectral_radius
from stablernn.stability.proofs.rnn import norm_of, squashed

_LEAST_WEIGHT = 1e-100  # of the oldest output in a norm: its square is no zero in float64


@prove.register
def prove_narx(cell: NARXCell, inputs: Seen, dropout: float) -> CellProofs:
    """Of the NARX and of the dilated RNN: |δh_t| <= diag(s) |Σ_d W_d δh_{t-d}|, s_j the steepest slope of unit j."""
    blocks = [block.detach().double() for block in cell.recurrent_blocks().values()]
    total = torch.stack(blocks).abs().sum(0)
    hidden, slopes = squashed(_reach(cell, inputs, dropout), total)
    drive = slopes[:, None] * cell.weight_ih.detach().double().abs()
    by_delay = dict(zip(cell.delays, blocks, strict=True))
    sizes = {delay: slopes[:, None] * block.abs() for delay, block in by_delay.items()}
    candidates = [
        _in_two_norm(cell, "2-norm", by_delay, slopes, torch.ones_like(hidden), hidden, drive),
        _in_two_norm(cell, "weighted 2-norm", by_delay, slopes, balance(total), hidden, drive),
        *_in_infinity_norm(cell, sizes, hidden, drive),
    ]
    bounds = {f"‖{name}‖_2": spectral_norm(block) for name, block in cell.recurrent_blocks().items()}
    return CellProofs(candidates, bounds | {"max |h|": float(hidden.max())}, _state(cell, hidden))


@prove.register
def prove_mist(cell: MISTCell, inputs: Seen, dropout: float) -> CellProofs:
    """With m = Σ_i a_i h_{t-d_i} and |h| <= H: |δ(r ⊙ m)| <= r |δm| + H |δr|, |δr| <= σ' |W_r| |δh_{t-1}|, and

    |δm_j| <= Σ_i a_i |δh_{t-d_i,j}| + H_j Σ_i |δa_i|, where a softmax moves by no more than the logit that moves most.

    How old the differences are that the softmax mixes is not known, so all of them count as the oldest.
    """
    reach = _reach(cell, inputs, dropout)
    edges = [edge.split(cell.rows()) for edge in reach]
    by_r, weight, by_a = (block.detach().double().abs() for block in cell.weight_hh.split(cell.rows()))
    hidden, slopes = squashed(Reach(edges[0][1], edges[1][1]), weight)
    low, high = edges[0][0] - by_r @ hidden, edges[1][0] + by_r @ hidden
    steepest = sigmoid_slope(torch.zeros_like(low).clamp(low, high))
    opened = torch.sigmoid(high)
    scaled = slopes[:, None] * weight
    at_once = hidden[:, None] * (steepest[:, None] * by_r + opened[:, None] * by_a.amax(0))
    by_delay = {1: scaled @ at_once}
    longest = cell.delays[-1]
    by_delay[longest] = by_delay.get(longest, 0) + scaled * opened
    drive_r, drive, drive_a = (block.detach().double().abs() for block in cell.weight_ih.split(cell.rows()))
    drive = slopes[:, None] * drive + scaled @ (
        hidden[:, None] * (steepest[:, None] * drive_r + opened[:, None] * drive_a.amax(0))
    )
    bounds = {"‖W‖_∞": float(weight.sum(1).max()), "max r": float(opened.max()), "max |h|": float(hidden.max())}
    return CellProofs(_in_infinity_norm(cell, by_delay, hidden, drive), bounds, _state(cell, hidden))


def _reach(cell: DelayedCell, inputs: Seen, dropout: float) -> Reach:
    return widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))


def _state(cell: DelayedCell, units: Tensor, of_age: Callable[[int], float] = lambda age: 1.0) -> DelayedState:
    """The state whose output of each age is units (D,) times a number."""
    ages = [units * of_age(age) for age in range(cell.delays[-1])]
    return DelayedState(ages[0], torch.cat([units[:0], *ages[1:]]))


def _least_rate(cell: DelayedCell, holds: Callable[[float], bool]) -> float | None:
    """As ``rates.least_rate``; none is so low that the weight of an age underflows."""
    return least_rate(_LEAST_WEIGHT ** (1 / cell.delays[-1]), holds)


def _contraction(
    cell: DelayedCell, name: str, rate: float, norm: StateNorm, hidden: Tensor, drive: Tensor
) -> Contraction:
    def input_gain(change: Tensor) -> float:
        return norm.over(_state(cell, drive @ change.double(), lambda age: float(age == 0)))

    return Contraction(name, up(rate), "", norm, norm.over(_state(cell, hidden)), input_gain)


def _in_two_norm(
    cell: DelayedCell,
    name: str,
    by_delay: Mapping[int, Tensor],
    slopes: Tensor,
    units: Tensor,
    hidden: Tensor,
    drive: Tensor,
) -> Contraction:
    """The shares are those of the weights without the slopes, as in the constraint: what it enforces is proven."""
    turned = {delay: units[:, None] * block / units for delay, block in by_delay.items()}
    norms = {delay: spectral_norm(block) for delay, block in turned.items()}
    steep = {delay: slopes[:, None] * block for delay, block in turned.items()}

    def gain(rate: float) -> float:
        return norm_of(stacked(steep, scales(norms, rate)))

    rate = _least_rate(cell, lambda rate: gain(rate) <= 1 - OUTWARD)
    if rate is None:
        which = "the matrices of all delays together have" if len(steep) > 1 else "W has"
        return Contraction(name, max(1.0, gain(1.0)), f"{which} a gain of {gain(1.0):.4g}, not below 1")
    share = shares(norms, rate)
    older = [sum(part for delay, part in share.items() if delay > age) for age in range(cell.delays[-1])]
    norm = StateNorm(2, _state(cell, units, lambda age: rate**age * math.sqrt(older[age])))
    return _contraction(cell, name, rate, norm, hidden, drive)


def _in_infinity_norm(
    cell: DelayedCell, by_delay: Mapping[int, Tensor], hidden: Tensor, drive: Tensor
) -> list[Contraction]:
    name = "weighted ∞-norm"

    def total(rate: float) -> Tensor:
        return torch.stack([matrix * rate**-delay for delay, matrix in by_delay.items()]).sum(0)

    def holds(rate: float) -> bool:
        return perron(total(rate), 1.0) is not None

    least = _least_rate(cell, holds)
    if least is None:
        radius = spectral_radius(total(1.0))
        reason = f"no weights w make the rows of |W| w shorter than w: its spectral radius is {radius:.4g}"
        return [Contraction(name, max(1.0, up(radius)), reason)]
    result = []
    for rate in rates(least):
        weights = perron(total(rate), 1.0)
        if weights is not None:
            norm = StateNorm(math.inf, _state(cell, 1 / weights, lambda age, rate=rate: rate**age))
            result.append(_contraction(cell, name, rate, norm, hidden, drive))
    return result
