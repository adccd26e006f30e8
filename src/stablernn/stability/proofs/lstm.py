"""Proofs that an LSTM is contractive: the small-gain conditions of ``comparison``, with the weights that suit its
matrices best.
"""

import math
from abc import ABC, abstractmethod
from functools import partial
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor

from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.state import LSTMState
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.small_gain import loop_weights
from stablernn.stability.proofs.gates import GateBounds, Seen, coupled, gate_bounds, input_reach, is_coupled, term_sizes
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import (
    LEAST_MARGIN,
    MOST_PLACES,
    least_rate,
    levels,
    merged_places,
    order,
    perron,
    rates,
    spectral_radius,
)

_ROUNDS = 4
# In a cascade the weights of the norm fall by one of these from place to place. The last proves the least λ, the first
# that does at all needs the fewest steps to ε.
_INCREMENTAL = "2-norm, δISS"
_LEAST_LOOP = 1e-8  # of what comes back: the weight of c is finite where nothing does
_NEVER_FORGETS = f"a forget gate reaches 1 to within {LEAST_MARGIN:g}: its unit never forgets"
_FALLS = (1e2, 1e3, 1e4, 1e5, 1e7, 1e10, 1e15)


@prove.register
def prove_lstm(cell: LSTMCell, inputs: Seen, dropout: float) -> CellProofs:
    """See ``prove``."""
    reach = widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))
    words = inputs if isinstance(inputs, Tensor) else None
    bounds = gate_bounds(cell, reach, rounds=_ROUNDS, words=words, dropout=dropout)
    bounds = GateBounds(*(bound * (1 + OUTWARD) for bound in bounds))
    by_rows = GateBounds(*(bound * (1 + OUTWARD) for bound in coupled(bounds))) if is_coupled(cell) else bounds
    bounds = bounds._replace(c=by_rows.c, h=by_rows.h)
    d = cell.hidden_size
    recurrent = cell.weight_hh.detach().double().view(4, d, d)
    drive = cell.weight_ih.detach().double().abs().view(4, d, -1)
    longest = float(bounds.f.max())
    box = LSTMState(bounds.h, bounds.c)
    by_norm = _SpectralGain(recurrent, bounds)
    by_row = _RowGain(recurrent, by_rows)
    candidates: list[Contraction] = []
    forgets = longest < 1 - LEAST_MARGIN
    for gains in ([by_norm, *(_along_cascade(recurrent, bounds) if forgets else ())], [by_row]):
        strongest = gains[-1]
        if not forgets:
            candidates.append(Contraction(gains[0].name, math.inf, _NEVER_FORGETS))
            continue
        least = least_rate(longest, lambda rate, gain=strongest: gain.witness(rate) is not None)
        if least is None:
            reason = f"{gains[0].measure} is {gains[0].size():.3g} and must be below 1 (f_∞ = {longest:.4f})"
            candidates.append(Contraction(gains[0].name, math.inf, reason))
            continue
        count = len(candidates)
        for gain, rate in product(gains, rates(least)):
            witness = gain.witness(rate)
            if witness is None:  # shares are searched for, and another rate may not find its own
                continue
            norm = gain.norm(witness, rate)
            if not all(bool((part > 0).all() and part.isfinite().all()) for part in norm.weights):
                continue
            input_gain = partial(_input_gain, norm, bounds, drive)
            candidates.append(Contraction(gain.name, rate, "", norm, up(float(norm(box))), input_gain))
        if len(candidates) == count:
            candidates.append(Contraction(gains[0].name, math.inf, "the weights of its norm overflow"))
    candidates.append(_incremental(recurrent, term_sizes(cell, inputs, dropout, one_bias=True), bounds, drive))
    rests_on = {
        "f_∞": longest,
        "median f_j": float(bounds.f.median()),
        "max C_j": float(bounds.c.max()),
        "‖W_i‖_2": spectral_norm(recurrent[0]),
        "‖W_f‖_2": spectral_norm(recurrent[1]),
        "‖W_z‖_2": spectral_norm(recurrent[2]),
        "‖W_o‖_2": spectral_norm(recurrent[3]),
        "loop gain": by_norm.size() if forgets else math.inf,
    }
    return CellProofs(candidates, rests_on, box)


def _incremental(recurrent: Tensor, terms: Tensor, bounds: GateBounds, drive: Tensor) -> Contraction:
    """The condition for incremental input-to-state stability of Terzi, Bonassi, Farina & Scattolini (arXiv 1910.04024).

    One bound for all units of a gate, σ(‖[U u_max, W, b]‖_∞), and matrices in the 2-norm: in one step

        (‖δc‖_2, ‖δh‖_2)  becomes at most  M (‖δc‖_2, ‖δh‖_2),    M = [[f, a], [o f, o a + b]],

    C = i z / (1 - f), a = (C ‖W_f‖_2 + z ‖W_i‖_2) / 4 + i ‖W_z‖_2, b = tanh(C) ‖W_o‖_2 / 4. They ask for ρ(M) < 1,
    which is -1 + f + o a + b - f b < 0 and f b < 1 (so in ``deltaiss_residuals`` of Bonassi's ssnet). In the 2-norm
    that weighs c by √(o f / a) M is symmetric, and so ρ(M) is its norm.

    Args:
        recurrent: W_i, W_f, W_z, W_o, (4, D, D).
        terms: ‖[U u_max, b]‖_1 by row, (4D,).
        bounds, drive: of the states and the input weights, for H and the gain of an input.
    """
    most = ((terms.view(4, -1) + recurrent.abs().sum(2)).amax(1) * (1 + OUTWARD)).cpu()
    i, f, _, o = (up(float(gate)) for gate in torch.sigmoid(most))
    z, left = up(math.tanh(float(most[2]))), float(torch.sigmoid(-most[1])) * (1 - OUTWARD)
    if not left > LEAST_MARGIN:
        return Contraction(_INCREMENTAL, math.inf, _NEVER_FORGETS)
    w_i, w_f, w_z, w_o = (up(spectral_norm(block)) for block in recurrent)
    c = up(i * z / left)
    a, b = up((c * w_f + z * w_i) / 4 + i * w_z), up(math.tanh(c) * w_o / 4)
    weigh_c = math.sqrt(o * f / max(a, _LEAST_LOOP))
    rate = up(spectral_norm(torch.tensor([[f, a * weigh_c], [o * f / weigh_c, o * a + b]], dtype=torch.float64)))
    if not rate < 1 - LEAST_MARGIN:
        return Contraction(_INCREMENTAL, math.inf, f"ρ(M) is {rate:.4g} and must be below 1 (f_∞ = {f:.4f})")
    ones = torch.ones_like(bounds.h)
    norm = StateNorm(2, LSTMState(ones, ones * weigh_c))
    radius = norm.over(LSTMState(bounds.h, bounds.c))
    return Contraction(_INCREMENTAL, rate, "", norm, radius, partial(_input_gain, norm, bounds, drive))


def _along_cascade(recurrent: Tensor, bounds: GateBounds) -> list["_CascadeGain"]:
    """The gains in norms whose weights fall along the cascade that the zeros of the matrices make, if they make one."""
    joint = recurrent.abs().sum(0)
    places = levels(joint)
    if int(places.max()) >= MOST_PLACES:
        # Zeros inside a group are places of their own. Neighbours that need no fall between them share one.
        ordered = order(joint)

        def merged(rate: float) -> Tensor | None:
            blocks = loop_weights(bounds, rate)[:, :, None] * recurrent
            return merged_places(ordered, lambda units: _sum_of_norms(blocks[:, units][:, :, units]) <= rate)

        least = least_rate(float(bounds.f.max()), lambda rate: merged(rate) is not None)
        shared = merged(least) if least is not None else None
        if shared is None:
            return []
        places = shared
    falls = _FALLS if int(places.max()) > 0 else ()
    return [_CascadeGain(recurrent, bounds, fall ** -places.double()) for fall in falls]


def _sum_of_norms(blocks: Tensor) -> float:
    """Σ_• ‖block_•‖_2 of (4, N, N)."""
    if not bool(blocks.isfinite().all()):
        return math.inf
    return sum(spectral_norm(block) for block in blocks)


def _input_gain(norm: StateNorm, bounds: GateBounds, drive: Tensor, change: Tensor) -> float:
    i, f, z, o = drive @ change.double()
    cell = bounds.by_i * i + bounds.by_f * f + bounds.by_z * z
    return up(float(norm(LSTMState(bounds.o * cell + bounds.by_o * o, cell))))


class _LoopGain(ABC):
    """The gain of the loop from h over the cell back to h, measured one way.

    Args:
        recurrent: W_i, W_f, W_z, W_o, (4, D, D).
        bounds: of the gates.
    """

    name: ClassVar[str]  # of the norm
    measure: ClassVar[str]

    def __init__(self, recurrent: Tensor, bounds: GateBounds) -> None:
        self.recurrent = recurrent
        self.bounds = bounds

    @abstractmethod
    def witness(self, rate: float) -> Tensor | None:
        """What shows that the gain is at most the rate; None if it is not found."""

    @abstractmethod
    def norm(self, witness: Tensor, rate: float) -> StateNorm:
        """In which every step contracts at this rate."""

    @abstractmethod
    def size(self) -> float:
        """The gain at rate 1."""

    def blocks(self, rate: float) -> Tensor:
        """R_• W_•, (4, D, D)."""
        return loop_weights(self.bounds, rate)[:, :, None] * self.recurrent


class _SpectralGain(_LoopGain):
    """In the 2-norm.

    The witness: shares n (4,) of the gates with ‖S‖_2 <= rate, S stacking √(Σn / n_•) R_• W_•. By Cauchy and Schwarz
    ‖Σ_• |R_• W_• δ|‖² <= Σ n · Σ ‖R_• W_• δ‖² / n_•. The shares of the best bound are those of the direction in
    which it is attained, so they are found by turns.
    """

    name = "2-norm"
    measure = "the loop gain"

    def witness(self, rate: float) -> Tensor | None:
        blocks = self.blocks(rate)
        grams = blocks.transpose(1, 2) @ blocks
        if not bool(grams.isfinite().all()):
            return None
        shares = torch.linalg.eigvalsh(grams)[:, -1].clamp_min(0).sqrt()
        for _ in range(_ROUNDS):
            shares = shares.clamp_min(1e-2 * rate)
            weighed = (grams * (shares.sum() / shares)[:, None, None]).sum(0)
            if not bool(weighed.isfinite().all()):
                return None
            values, vectors = torch.linalg.eigh(weighed)
            if up(math.sqrt(max(float(values[-1]), 0.0))) <= rate:
                return shares
            shares = (blocks @ vectors[:, -1]).norm(dim=1)
        return None

    def norm(self, witness: Tensor, rate: float) -> StateNorm:
        f, through_cell = self.bounds.f, float(witness.sum() / witness[:3].sum())
        squares = through_cell * self.bounds.o**2 * f / (rate - f)
        return StateNorm(2, LSTMState(torch.ones_like(squares), squares.sqrt()))

    def size(self) -> float:
        return _sum_of_norms(self.blocks(1.0))


class _CascadeGain(_SpectralGain):
    """In a 2-norm that weighs each unit by w (D,), h and c alike: for what follows, W_jl is w_j W_jl / w_l."""

    name = "weighted 2-norm"
    measure = "the loop gain in a weighted 2-norm"

    def __init__(self, recurrent: Tensor, bounds: GateBounds, weights: Tensor) -> None:
        super().__init__(weights[:, None] * recurrent / weights, bounds)
        self.weights = weights

    def norm(self, witness: Tensor, rate: float) -> StateNorm:
        plain = super().norm(witness, rate)
        return StateNorm(2, LSTMState(*(self.weights * part for part in plain.weights)))


class _RowGain(_LoopGain):
    """By weighted rows. The witness: the weights u (D,)."""

    name = "weighted ∞-norm"
    measure = "the loop gain in the best weighted ∞-norm"

    def witness(self, rate: float) -> Tensor | None:
        return perron(self._total(rate), rate)

    def norm(self, witness: Tensor, rate: float) -> StateNorm:
        """max(|h_j| / u_j, |c_j| / v_j) with v = (A u + s) / (λ - f); u leaves room for s > 0, so that no v is zero."""
        bounds = self.bounds
        i, f, z, _ = self.recurrent.abs() @ witness
        drive = bounds.by_i * i + bounds.by_f * f + bounds.by_z * z
        slack = 0.5 * float(((rate - bounds.f) / (bounds.o * rate)).min())
        return StateNorm(math.inf, LSTMState(1 / witness, (rate - bounds.f) / (drive + slack)))

    def size(self) -> float:
        return spectral_radius(self._total(1.0))

    def _total(self, rate: float) -> Tensor:
        return self.blocks(rate).abs().sum(0)
