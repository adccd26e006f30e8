"""Constraints on cells that remember by moving averages, and on the clockwork network."""

import math

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.clockwork import ClockworkCell
from stablernn.models.cells.scrn import SCRNCell
from stablernn.models.cells.statistical import StatisticalCell
from stablernn.stability.constraints.base import Constraint, checked_limit, two_norm
from stablernn.stability.constraints.spectral import clip_singular_values
from stablernn.utils.errors import ConfigurationError

_INSIDE = 1 - 6e-6  # weights are float32


def _check_alpha(alpha: float, limit: float) -> None:
    if alpha >= limit:
        raise ConfigurationError(
            f"stability.constraint.limit={limit} must be above the largest α of the cell, which is {alpha:g}"
        )


class StatisticalBall(Constraint):
    """g = ‖W_φ‖_2 Σ_α ‖W_r^α‖_2 <= (limit - max α) / (1 - max α), by scaling both matrices alike.

    Then every average contracts at α + (1 - α) g <= limit.

    Args:
        limit: λ, in (0, 1) and above the largest α.
    """

    cell_type = StatisticalCell
    synchronizes = True

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = self.rate = checked_limit(limit)

    def check(self, cell: Cell) -> None:
        super().check(cell)
        assert isinstance(cell, StatisticalCell)
        _check_alpha(max(cell.alphas), self.limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, StatisticalCell)
        slowest = max(cell.alphas)
        bound = (self.limit - slowest) / (1 - slowest) * _INSIDE
        norms = [float(two_norm(block.double())) for block in cell.recurrent_blocks().values()]
        gain = norms[0] * sum(norms[1:])
        if bound < gain < math.inf:
            for weight in (cell.weight_rp, cell.weight_mr):
                weight *= math.sqrt(bound * _INSIDE / gain)


class SCRNBall(Constraint):
    """‖R‖_2 <= 4 limit, by the Euclidean projection: σ' <= 1/4, so the units q contract at ``limit``, and s at α.

    Args:
        limit: λ, in (0, 1) and above α.
    """

    cell_type = SCRNCell

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = self.rate = checked_limit(limit)

    def check(self, cell: Cell) -> None:
        super().check(cell)
        assert isinstance(cell, SCRNCell)
        _check_alpha(cell.alpha, self.limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, SCRNCell)
        clip_singular_values(cell.weight_hh, 4 * self.limit)


class ClockworkBlocks(Constraint):
    """‖W_ii‖_2 <= limit for every module, by the Euclidean projection: it contracts whenever it is updated.

    Between its updates a module does not, so no single step is proven to.

    Args:
        limit: in (0, 1).
    """

    cell_type = ClockworkCell

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = checked_limit(limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        for block in cell.recurrent_blocks().values():
            clip_singular_values(block, self.limit)
