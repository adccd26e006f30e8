"""Conditions for a contractive GRU: ours, after Bonassi, Farina & Scattolini, and the GRU without a loop.

With |h|, r <= 1, slopes of at most 1 and 1/4, and a cap φ_j on each update gate, two states come closer by the factor λ
in the ∞-norm, whatever the input, where for the rows of the recurrent matrices of every unit j

    ‖W_n,j‖_1 + (‖W_n,j‖_1 + |b_hn,j|) ‖W_r,j‖_1 / 4 + 2 φ_j ‖W_z,j‖_1 <= (λ - φ_j) / (1 - φ_j).

``proofs.gru`` derives it. Bonassi, Farina & Scattolini (arXiv 2011.06806) prove incremental input-to-state stability by
the same steps for another GRU, whose reset gate multiplies h before the recurrent product, so that no bias is reset.
Their condition has norms of whole matrices in place of the rows and bounds the gates one by one, z (1 - z) by 1/4.
"""

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.gru import GRUCell
from stablernn.stability.constraints.base import Constraint, checked_every, checked_limit
from stablernn.stability.constraints.forget_caps import cap_forget_gates
from stablernn.stability.constraints.small_gain import project_rows
from stablernn.utils.errors import ConfigurationError

_INSIDE = 1 - 1e-6  # weights are float32
_ROUNDS = 2


class GRURowwise(Constraint):
    """The condition for each unit, and so the GRU contracts at the rate ``limit`` in the ∞-norm.

    Of a unit beyond it the three rows together are moved to the nearest point (Euclidean) of a linear condition, that
    which touches this one where the rows scaled by one factor, or then the result, meet it; what is left beyond this
    one is scaled. That ends within half a percent of the nearest distance. What opens an update gate beyond its cap
    gives way as ``forget_caps`` says.

    Args:
        limit: λ, in (0, 1).
        update: cap φ of every update gate, below λ; None: 1 - 4 (1 - λ), which leaves 3/4 to the rows, or λ / 2 if
            that is more.
        every: project after every so many updates (and before each evaluation).
    """

    cell_type = GRUCell

    def __init__(self, limit: float = 0.999, update: float | None = None, every: int = 10) -> None:
        self.limit = self.rate = checked_limit(limit)
        self.update = max(1 - 4 * (1 - limit), limit / 2) if update is None else update
        if not 0 < self.update < limit:
            raise ConfigurationError(f"stability.constraint.update={update} must lie in (0, limit={limit})")
        self.every = checked_every(every)

    def shrink(self, cell: GRUCell) -> None:
        """Bring the rows of the recurrent matrices to the condition, in place."""
        d = cell.hidden_size
        blocks, bias = cell.weight_hh.view(3, d, d), cell.reset_bias.double().abs()
        room = (self.limit - self.update) / (1 - self.update)

        def to_boundary(sums: Tensor) -> Tensor:
            """The factor (D,) that brings rows of these ℓ1 norms (D, 3) onto it: the root of a parabola."""
            r, z, n = sums.T
            linear = n + bias * r / 4 + 2 * self.update * z
            return 2 * room / (linear + (linear**2 + n * r * room).sqrt()).clamp_min(1e-30)

        rows = nearest = blocks.double().transpose(0, 1).reshape(d, 3 * d)
        factor = first = to_boundary(rows.view(d, 3, d).abs().sum(2))
        for _ in range(_ROUNDS):
            r, z, n = (nearest.view(d, 3, d).abs().sum(2) * factor[:, None]).T
            costs = torch.stack([(n + bias) / 4, torch.full_like(z, 2 * self.update), 1 + r / 4], dim=1)
            nearest = project_rows(rows, costs.clamp_min(1e-6).repeat_interleave(d, dim=1), room + n * r / 4)
            factor = to_boundary(nearest.view(d, 3, d).abs().sum(2))
        nearest = nearest * (factor * _INSIDE).clamp_max(1)[:, None]
        blocks.copy_(torch.where((first >= 1)[:, None], rows, nearest).view(d, 3, d).transpose(0, 1))

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, GRUCell)
        self.shrink(cell)
        cap_forget_gates(cell, inputs, torch.full_like(cell.reset_bias, self.update), "z")


class GRUGatedLinear(GRURowwise):
    """No recurrent weights: h' = z ⊙ h + (1 - z) ⊙ n with gates that see the input alone, the control of the condition.

    Every z < 1 makes it contractive, so the only limit is that of the update gates: λ itself, for all of them.
    """

    def __init__(self, limit: float = 0.999, every: int = 10) -> None:
        super().__init__(limit, limit * (1 - 1e-6), every)

    def shrink(self, cell: GRUCell) -> None:
        cell.weight_hh.zero_()
