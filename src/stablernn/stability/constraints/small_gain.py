"""Conditions for a contractive LSTM that are weaker than the paper's: a small-gain theorem, unit by unit.

The scalar one is the incremental-stability condition of Terzi, Bonassi, Farina & Scattolini (arXiv 1910.04024) with
finer bounds: on the gates, by the words of the vocabulary, and on |c| and the slopes. The others are of our own.

Take two states at the same input, δ their difference, and the bounds of ``gates``. By the mean value theorem, with
y = A δh the change of the cell's drive and A = diag(±by_f) W_f + diag(±by_i) W_i + diag(±by_z) W_z,

    |δc'_j| <= f_j |δc_j| + |y_j|,        |δh'_j| <= o_j |δc'_j| + by_o,j |W_o δh|_j.

The memory cell is a leaky integrator. In signals that are weighed by λ^-t, its gain from y to c is λ / (λ - f_j), so
the loop from h over the cell back to h has the gain of the matrix with rows

    R_•,j W_•,j    with    R_• = o by_• λ / (λ - f)  for • = f, i, z    and    R_o = by_o,

and where that gain is at most λ, differences shrink like λ^t. The same said with a norm in which every single step
contracts, for the gain measured

- by rows (ℓ∞): max(max_j |h_j|, max_j |c_j| / v_j), v_j = a_j / (λ - f_j), a_j the row sums of |A|;
- by the 2-norm: sqrt(Σ h_j² + Σ p_j c_j²) with p_j = τ_j f_j / (λ - f_j), τ_j = o_j² n / n_c, n_c the part of the gain
  n that goes through the cell. (Young's inequality, (a + b)² <= (1 + 1/θ) a² + (1 + θ) b², with the best θ for each
  unit.)

A unit may so remember for long where its rows of the recurrent matrices are small, and with W = 0 any f < λ will do.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.stability.constraints.base import Constraint, checked_every, checked_limit
from stablernn.stability.constraints.forget_caps import cap_forget_gates
from stablernn.stability.constraints.spectral import clip_singular_values
from stablernn.stability.proofs.gates import GateBounds, coupled, open_gates
from stablernn.utils.errors import ConfigurationError

_NEWTON_ROUNDS = 20
_INSIDE = 1 - 1e-5  # float32 sums of a thousand terms round by less


def loop_weights(bounds: GateBounds, rate: float) -> Tensor:
    """R (4, D) in the order of the gates i, f, z, o, for a rate above every f."""
    through = bounds.o * rate / (rate - bounds.f)
    return torch.stack([through * bounds.by_i, through * bounds.by_f, through * bounds.by_z, bounds.by_o])


class LSTMLoopGain(Constraint):
    """The loop gain is at most ``limit``, and so the LSTM contracts at that rate.

    Each unit has a cap φ_j on its forget gate, over the whole vocabulary. The caps run from ``forget_low`` to
    ``forget_high``, evenly in log(1 - φ): units are alike until training makes something of them, so it costs little to
    say beforehand which ones may remember for long, and only those need small rows of the recurrent matrices. With
    f_j = φ_j and i, |z|, o <= 1 the weights R of the loop gain are fixed numbers, and the matrices are brought to the
    set by themselves; how, and in which norm the gain is measured, is the subclass's.

    What opens a forget gate beyond its cap gives way as ``forget_caps`` says.

    Args:
        limit: λ, in (0, 1).
        forget_low, forget_high: the range of the caps, below λ; forget_high: None for λ².
        every: project after every so many updates (and before each evaluation), as a pass over the vocabulary
            costs a tenth of an update and more.
    """

    cell_type = LSTMCell

    def __init__(
        self, limit: float = 0.99, forget_low: float = 0.7, forget_high: float | None = None, every: int = 10
    ) -> None:
        self.limit = self.rate = checked_limit(limit)
        high = limit**2 if forget_high is None else forget_high
        if not 0 < high < limit:
            raise ConfigurationError(f"stability.constraint.forget_high={high} must lie in (0, limit={limit})")
        low = min(forget_low, high) if forget_high is None else forget_low
        if not 0 < low <= high:
            raise ConfigurationError(f"stability.constraint.forget_low={low} must lie in (0, forget_high={high}]")
        self.forget_low = low
        self.forget_high = high
        self.every = checked_every(every)

    @abstractmethod
    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        """Bring the gain of ``weights`` (gates, D) times ``blocks`` (gates, D, D) to the limit, in place."""

    def caps(self, units: int, device: torch.device | None = None) -> Tensor:
        """φ (D,), float64."""
        low, high = math.log1p(-self.forget_low), math.log1p(-self.forget_high)
        return -torch.expm1(torch.linspace(low, high, units, dtype=torch.float64, device=device))

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, LSTMCell)
        d = cell.hidden_size
        caps = self.caps(d, cell.weight_hh.device)
        weights = loop_weights(open_gates(caps), self.limit).to(cell.weight_hh)
        self.shrink(cell.weight_hh.view(4, d, d), weights)
        cap_forget_gates(cell, inputs, caps.to(cell.weight_hh))


class LSTMComparison(LSTMLoopGain):
    """The scalar condition, o_∞ a λ <= (λ - f_∞)(λ - b): one bound for all units, gains as ‖W_•‖_∞.

    At λ -> 1 it is the condition of Terzi, Bonassi, Farina & Scattolini (arXiv 1910.04024) for incremental
    input-to-state stability, with finer bounds.

    With λ -> 1 this is o_∞ a < (1 - f_∞)(1 - b), where a = C (‖W_f‖_∞ + ...) sums the gains into the cell and b that
    past it; the paper's stated condition implies it. Beyond the limit the four norms are cut by one common factor: the
    rows of a matrix that are longer than its norm may be are moved to the nearest point (Euclidean) of the ℓ1 ball.
    """

    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        norms = blocks.abs().sum(2).amax(1)
        gain = (weights.amax(1) * norms).sum()
        limits = norms * (self.limit * _INSIDE / gain).clamp_max(1)
        rows = torch.ones_like(blocks).flatten(0, 1)
        nearest = project_rows(blocks.flatten(0, 1), rows, limits.repeat_interleave(blocks.shape[1]))
        blocks.copy_(torch.where(gain > self.limit, nearest.view_as(blocks), blocks))


class LSTMRowwise(LSTMLoopGain):
    """The condition unit by unit, o_j a_j λ <= (λ - b_j)(λ - f_j): rows of weighted ℓ1 norm at most λ.

    Of each unit the four rows of the recurrent matrices together are moved to the nearest point (Euclidean) at which it
    holds: entries that cost much gain and weigh little go to zero first.
    """

    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        gates, d, _ = blocks.shape
        rows = blocks.transpose(0, 1).reshape(d, -1)
        costs = weights.T[:, :, None].expand(d, gates, d).reshape(d, -1)
        nearest = project_rows(rows, costs, rows.new_full((d,), self.limit * _INSIDE))
        inside = ((rows.abs() * costs).sum(1) <= self.limit)[:, None]
        blocks.copy_(torch.where(inside, rows, nearest).view(d, gates, d).transpose(0, 1))


class LSTMSpectral(LSTMLoopGain):
    """The gain measured in the 2-norm, which does not add up absolute values as row sums do.

    Each gate gets a share of it, ‖diag(R_•) W_•‖_2 <= s_• λ with s_i + s_f + s_z + s_o = 1. Beyond it the singular
    values of diag(R_•) W_• are clipped: the nearest point for the distance ‖diag(R_•) ΔW_•‖_F, in which a unit's
    weights count by what they cost.

    Args:
        shares: of the gates.
    """

    def __init__(
        self,
        limit: float = 0.99,
        forget_low: float = 0.7,
        forget_high: float | None = None,
        every: int = 10,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(limit, forget_low, forget_high, every)
        shares = dict(shares or dict.fromkeys(LSTMCell.GATES, 0.25))
        if set(shares) != set(LSTMCell.GATES) or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ConfigurationError(
                f"stability.constraint.shares={shares} must be positive shares of i, f, z and o that add up to 1"
            )
        self.shares = [shares[gate] for gate in LSTMCell.GATES]

    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        for block, scale, share in zip(blocks, weights, self.shares, strict=True):
            clip_singular_values(block, self.limit * share * _INSIDE, scale)


class LSTMCoupled(LSTMRowwise):
    """Coupled gates, i = 1 - f (W_i = -W_f, U_i = -U_f, b_i = -b_f), and the condition unit by unit.

    Where what is written is what is forgotten, c' = f c + (1 - f) z, a long memory has a small drive: the weights of
    the loop gain (``gates.coupled``) stay bounded as f -> 1, and the recurrent matrices need not vanish for units that
    remember. This is the coupled input and forget gate of Greff et al. (2017), a subspace of the LSTM's weights; the
    projection on it is the mean of the two gates' rows, one negated, and then the rows of f, z and o are moved to
    the nearest point of the condition.

    Args:
        limit, every: see ``LSTMLoopGain``.
        forget: cap of every f_j, below λ; None: 1 - 4 (1 - λ), where the drive weighs a third more than at f = 0, or
            λ / 2 if that is more.
    """

    def __init__(self, limit: float = 0.99, forget: float | None = None, every: int = 10) -> None:
        cap = max(1 - 4 * (1 - limit), limit / 2) if forget is None else forget
        if 0 < limit < 1 and not 0 < cap < limit:
            raise ConfigurationError(f"stability.constraint.forget={forget} must lie in (0, limit={limit})")
        super().__init__(limit, cap, cap, every)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, LSTMCell)
        d = cell.hidden_size
        caps = self.caps(d, cell.weight_hh.device)
        for part in cell.parameters(recurse=False):
            write, keep, *_ = part.chunk(4)
            keep.sub_(write).div_(2)
        weights = loop_weights(coupled(open_gates(caps)), self.limit).to(cell.weight_hh)
        self.shrink(cell.weight_hh.view(4, d, d)[1:], weights[1:])
        cap_forget_gates(cell, inputs, caps.to(cell.weight_hh))
        for part in cell.parameters(recurse=False):
            write, keep, *_ = part.chunk(4)
            write.copy_(-keep)


class LSTMGatedLinear(LSTMLoopGain):
    """No recurrent weights: c' = f ⊙ c + i ⊙ z with gates that see the input alone, as in QRNN and SRU.

    Every f < 1 makes it contractive, so the only limit is that of the forget gates: λ itself, for all of them.
    """

    def __init__(self, limit: float = 0.99, every: int = 10) -> None:
        super().__init__(limit, limit * (1 - 1e-6), limit * (1 - 1e-6), every)

    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        blocks.zero_()


def project_rows(rows: Tensor, costs: Tensor, limits: Tensor) -> Tensor:
    """The nearest points at which Σ_l costs_jl |rows_jl| <= limits_j, row by row.

    It is sign(x) max(|x| - τ c, 0), with τ the root of a convex, piecewise linear function that falls: from τ = 0
    Newton's method climbs to it without passing it, in as many rounds as entries still change sides. A fixed number of
    them and one scaling of the row need no look at the result.

    Args:
        rows, costs: (N, M); costs positive.
        limits: (N,), positive.
    """
    sizes = rows.abs()
    tau = rows.new_zeros(len(rows), 1)
    for _ in range(_NEWTON_ROUNDS):
        left = (sizes - tau * costs).clamp_min_(0)
        excess = (costs * left).sum(1, keepdim=True) - limits[:, None]
        slope = torch.where(left > 0, costs * costs, 0.0).sum(1, keepdim=True)
        tau += (excess / slope.clamp_min(1e-30)).clamp_min_(0)
    left = (sizes - tau * costs).clamp_min_(0)
    total = (costs * left).sum(1)
    return rows.sign() * left * (limits / total.clamp_min(1e-30)).clamp_max(1)[:, None]
