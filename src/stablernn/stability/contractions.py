"""Proofs that a cell is contractive: norms of its state in which every step shrinks every difference.

Each proof carries what a sceptic needs to attack it: the norm, the rate λ and the radius H. All of it is computed in
float64 from the weights as they are stored, and rounded outward: float64 sums of some thousand terms are right to 1e-12
of their size, and every bound is moved by 1e-9 of its size against the claim.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import singledispatch

import torch
from torch import Tensor

from stablernn.models.cells import Cell, LSTMCell, LSTMState, RNNCell, RNNState, State
from stablernn.stability.comparison import loop_weights
from stablernn.stability.constraints import two_norm
from stablernn.stability.gates import GateBounds, Reach, coupled, gate_bounds, input_reach, is_coupled
from stablernn.stability.spectral import balance

OUTWARD = 1e-9
_LEAST_MARGIN = 1e-9  # no λ nearer to 1 than this is told from 1
_BISECTIONS = 30
# λ may be chosen above the least one: a little slack makes the weights of the norm, and so H, far smaller.
_SLACKS = (1e-3, 1e-2, 0.03, 0.1, 0.2, 0.4)
_ROUNDS = 4


@dataclass(frozen=True)
class StateNorm:
    """‖s‖ = ‖w ⊙ s‖_p over all parts of a state together.

    Attributes:
        p: 2 or inf.
        weights: w, a state of (D,) tensors, float64, positive.
    """

    p: float
    weights: State

    def __call__(self, state: State) -> Tensor:
        """The norm of states of (..., D): (...,)."""
        scaled = [part * weight for part, weight in zip(state, self.weights, strict=True)]
        return torch.linalg.vector_norm(torch.cat(scaled, dim=-1), ord=self.p, dim=-1)

    def readout(self, rows: Tensor) -> Tensor:
        """rows (N, D) such that |v · h| <= (dual norm of its row) ‖s‖ for the h of any state s."""
        return rows / self.weights.h

    @property
    def hidden(self) -> float:
        """The largest ‖h‖_2 of a state s with ‖s‖ = 1."""
        inverse = 1 / self.weights.h
        return float(torch.linalg.vector_norm(inverse) if self.p == math.inf else inverse.max())

    @property
    def dual(self) -> float:
        """The order of the norm that goes with ``readout``: 1 or 2."""
        return 1.0 if self.p == math.inf else 2.0


@dataclass(frozen=True)
class Contraction:
    """‖φ(s, x) - φ(s', x)‖ <= λ ‖s - s'‖ for every input x and all s, s' that can be reached from zero.

    Attributes:
        name: of the kind of norm.
        rate: λ; a proof of stability if below 1.
        reason: why it proves nothing, where it does not.
        norm: in which it contracts; None where it does not.
        radius: H >= ‖s‖ for every state reached from zero.
        input_gain: elementwise bound of a change of the input (E,) -> bound of the norm of the change of the state.
    """

    name: str
    rate: float
    reason: str = ""
    norm: StateNorm | None = None
    radius: float = math.inf
    input_gain: Callable[[Tensor], float] = field(default=lambda change: math.inf, repr=False, compare=False)

    @property
    def holds(self) -> bool:
        return self.norm is not None and self.rate < 1


@dataclass(frozen=True)
class CellProofs:
    """What can be proved of one cell.

    Attributes:
        attempts: one contraction for each kind of norm that was tried (with several λ, several).
        bounds: what they rest on, by name.
        box: elementwise bounds of the states reached from zero, (D,) each; the contractions hold in it.
    """

    attempts: list[Contraction]
    bounds: dict[str, float]
    box: State | None = None


@singledispatch
def prove(cell: Cell, inputs: Tensor | None, dropout: float) -> CellProofs:
    """Try to prove that a cell is contractive.

    Args:
        cell: to be examined.
        inputs: all inputs that it can see, (V, E); None: any hidden state.
        dropout: rate of the dropout on its inputs; 0 at inference.
    """
    name = type(cell).__name__
    return CellProofs([Contraction("none", math.inf, f"no condition is known for a {name}")], {})


@prove.register
def _(cell: RNNCell, inputs: Tensor | None, dropout: float) -> CellProofs:
    """h' = tanh(W h + U x + b): |δh'| <= diag(s) |W δh|, s_j the steepest slope that unit j can reach (at most 1)."""
    weight = cell.weight_hh.detach().double()
    reach = _outward(input_reach(cell, inputs, dropout))
    hidden = weight.new_ones(cell.hidden_size)
    for _ in range(_ROUNDS):
        spread = weight.abs() @ hidden
        hidden = torch.tanh(torch.maximum(reach.high + spread, spread - reach.low)) * (1 + OUTWARD)
    low, high = reach.low - spread, reach.high + spread
    slopes = (1 - torch.tanh(torch.zeros_like(low).clamp(low, high)) ** 2) * (1 + OUTWARD)
    scaled = slopes[:, None] * weight
    drive = slopes[:, None] * cell.weight_ih.detach().double().abs()

    def contraction(name: str, rate: float, norm: StateNorm, reason: str) -> Contraction:
        if rate >= 1:
            return Contraction(name, rate, reason)
        radius = _up(float(norm(RNNState(hidden))))
        return Contraction(
            name, rate, "", norm, radius, lambda change: _up(float(norm(RNNState(drive @ change.double()))))
        )

    plain = StateNorm(2, RNNState(torch.ones_like(hidden)))
    rate = _up(_two_norm(scaled))
    attempts = [contraction("2-norm", rate, plain, f"‖W‖_2 = {rate:.4g} is not below 1")]
    for weights in (balance(scaled), balance(weight)):
        rate = _up(_two_norm(weights[:, None] * scaled / weights))
        attempts.append(
            contraction(
                "weighted 2-norm",
                rate,
                StateNorm(2, RNNState(weights)),
                f"‖D W D⁻¹‖_2 = {rate:.4g} is not below 1 for the D that balances W",
            )
        )
    least = _least_rate(0.0, lambda rate: _perron(scaled.abs(), rate) is not None)
    if least is None:
        radius = _spectral_radius(scaled.abs())
        reason = f"no weights w make the rows of |W| w shorter than w: its spectral radius is {radius:.4g}"
        attempts.append(Contraction("weighted ∞-norm", _up(radius), reason))
    else:
        for rate in _rates(least):
            weights = _perron(scaled.abs(), rate)
            if weights is not None:
                attempts.append(contraction("weighted ∞-norm", rate, StateNorm(math.inf, RNNState(1 / weights)), ""))
    bounds = {"‖W‖_2": _two_norm(weight), "‖W‖_∞": float(weight.abs().sum(1).max()), "max |h|": float(hidden.max())}
    return CellProofs(attempts, bounds, RNNState(hidden))


@prove.register
def _(cell: LSTMCell, inputs: Tensor | None, dropout: float) -> CellProofs:
    """The small-gain conditions of ``comparison``, each with the weights that suit these matrices best."""
    reach = _outward(input_reach(cell, inputs, dropout))
    bounds = gate_bounds(cell, reach, rounds=_ROUNDS, words=inputs, dropout=dropout)
    bounds = GateBounds(*(bound * (1 + OUTWARD) for bound in bounds))
    by_rows = GateBounds(*(bound * (1 + OUTWARD) for bound in coupled(bounds))) if is_coupled(cell) else bounds
    bounds = bounds._replace(c=by_rows.c, h=by_rows.h)
    d = cell.hidden_size
    recurrent = cell.weight_hh.detach().double().view(4, d, d)
    drive = cell.weight_ih.detach().double().abs().view(4, d, -1)
    longest = float(bounds.f.max())
    attempts: list[Contraction] = []
    for name, rests_on, find, norm_of in (
        ("2-norm", bounds, _spectral_shares, _spectral_norm_of_state),
        ("weighted ∞-norm", by_rows, _row_weights, _row_norm_of_state),
    ):

        def holds(rate: float, find=find, rests_on=rests_on) -> bool:
            return find(recurrent, loop_weights(rests_on, rate), rate) is not None

        least = _least_rate(longest, holds)
        if least is None:
            attempts.append(Contraction(name, math.inf, _why_not(name, recurrent, rests_on, longest)))
            continue
        for rate in _rates(least):
            found = find(recurrent, loop_weights(rests_on, rate), rate)
            if found is None:  # shares are searched for, and another rate may not find its own
                continue
            norm = norm_of(recurrent, rests_on, found, rate)
            attempts.append(
                Contraction(
                    name,
                    rate,
                    "",
                    norm,
                    _up(float(norm(LSTMState(bounds.h, bounds.c)))),
                    lambda change, norm=norm: _lstm_input_gain(norm, bounds, drive, change.double()),
                )
            )
    return CellProofs(
        attempts,
        {
            "f_∞": longest,
            "median f_j": float(bounds.f.median()),
            "max C_j": float(bounds.c.max()),
            "‖W_i‖_2": _two_norm(recurrent[0]),
            "‖W_f‖_2": _two_norm(recurrent[1]),
            "‖W_z‖_2": _two_norm(recurrent[2]),
            "‖W_o‖_2": _two_norm(recurrent[3]),
            "loop gain": _gain(recurrent, bounds) if longest < 1 else math.inf,
        },
        LSTMState(bounds.h, bounds.c),
    )


def _lstm_input_gain(norm: StateNorm, bounds: GateBounds, drive: Tensor, change: Tensor) -> float:
    i, f, z, o = drive @ change
    cell = bounds.by_i * i + bounds.by_f * f + bounds.by_z * z
    return _up(float(norm(LSTMState(bounds.o * cell + bounds.by_o * o, cell))))


def _spectral_shares(recurrent: Tensor, weights: Tensor, rate: float) -> Tensor | None:
    """Shares n (4,) of the gates with ‖S‖_2 <= rate, S stacking √(Σn / n_•) R_• W_•; None if none are found.

    By Cauchy and Schwarz ‖Σ_• |R_• W_• δ|‖² <= Σ n · Σ ‖R_• W_• δ‖² / n_•. The shares of the best bound are those of
    the direction in which it is attained, so they are found by turns.
    """
    blocks = weights[:, :, None] * recurrent
    grams = blocks.transpose(1, 2) @ blocks
    shares = torch.linalg.eigvalsh(grams)[:, -1].clamp_min(0).sqrt()
    for _ in range(_ROUNDS):
        shares = shares.clamp_min(1e-2 * rate)
        values, vectors = torch.linalg.eigh((grams * (shares.sum() / shares)[:, None, None]).sum(0))
        if _up(math.sqrt(max(float(values[-1]), 0.0))) <= rate:
            return shares
        shares = (blocks @ vectors[:, -1]).norm(dim=1)
    return None


def _spectral_norm_of_state(recurrent: Tensor, bounds: GateBounds, shares: Tensor, rate: float) -> StateNorm:
    through_cell = float(shares.sum() / shares[:3].sum())
    squares = through_cell * bounds.o**2 * bounds.f / (rate - bounds.f)
    return StateNorm(2, LSTMState(torch.ones_like(squares), squares.sqrt()))


def _row_weights(recurrent: Tensor, weights: Tensor, rate: float) -> Tensor | None:
    return _perron((weights[:, :, None] * recurrent.abs()).sum(0), rate)


def _row_norm_of_state(recurrent: Tensor, bounds: GateBounds, weights: Tensor, rate: float) -> StateNorm:
    """max(|h_j| / u_j, |c_j| / v_j) with v = (A u + s) / (λ - f); u leaves room for s > 0, so that no v is zero."""
    i, f, z, _ = recurrent.abs() @ weights
    drive = bounds.by_i * i + bounds.by_f * f + bounds.by_z * z
    slack = 0.5 * float(((rate - bounds.f) / (bounds.o * rate)).min())
    return StateNorm(math.inf, LSTMState(1 / weights, (rate - bounds.f) / (drive + slack)))


def _perron(matrix: Tensor, rate: float) -> Tensor | None:
    """Weights w > 0 with matrix w <= rate w - 1 (matrix nonnegative), checked; None if the spectral radius is above."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    weights, info = torch.linalg.solve_ex(rate * identity - matrix, matrix.new_ones(len(matrix)))
    if int(info) or not bool((weights > 0).all()) or not bool(weights.isfinite().all()):
        return None
    room = float((rate * weights - (matrix @ weights) * (1 + OUTWARD)).min())
    return weights / (room * (1 - OUTWARD)) if room > 0 else None


def _least_rate(above: float, holds: Callable[[float], bool]) -> float | None:
    """The least rate in (above, 1) for which a condition holds that goes on holding as the rate grows."""
    high = 1 - _LEAST_MARGIN
    if above >= high or not holds(high):
        return None
    low = above
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle <= above or high - low < 1e-6 * (1 - high):
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _rates(least: float) -> Sequence[float]:
    return [least, *(least + slack * (1 - least) for slack in _SLACKS)]


def _gain(recurrent: Tensor, bounds: GateBounds) -> float:
    """The loop gain at rate 1, as a sum of 2-norms."""
    return sum(_two_norm(block) for block in loop_weights(bounds, 1.0)[:, :, None] * recurrent)


def _why_not(name: str, recurrent: Tensor, bounds: GateBounds, longest: float) -> str:
    if longest >= 1 - _LEAST_MARGIN:
        return f"a forget gate reaches 1 to within {_LEAST_MARGIN:g}: its unit never forgets"
    if name == "2-norm":
        return f"the loop gain is {_gain(recurrent, bounds):.3g} and must be below 1 (f_∞ = {longest:.4f})"
    total = (loop_weights(bounds, 1.0)[:, :, None] * recurrent.abs()).sum(0)
    radius = _spectral_radius(total)
    return f"the loop gain in the best weighted ∞-norm is {radius:.3g} and must be below 1 (f_∞ = {longest:.4f})"


def _two_norm(matrix: Tensor) -> float:
    return float(two_norm(matrix))


def _spectral_radius(matrix: Tensor) -> float:
    """Of a matrix without symmetry; on the CPU, where it takes a fraction of the time that cuSOLVER does."""
    return float(torch.linalg.eigvals(matrix.cpu()).abs().max())


def _up(value: float) -> float:
    return value * (1 + OUTWARD)


def _outward(reach: Reach) -> Reach:
    return Reach(reach.low - OUTWARD * (1 + reach.low.abs()), reach.high + OUTWARD * (1 + reach.high.abs()))
