"""Constraints on cells whose units depend on their own past alone (``models.cells.elementwise``)."""

import math

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.indrnn import IndRNNCell
from stablernn.models.cells.min_gru import MinGRUCell
from stablernn.models.cells.min_lstm import MinLSTMCell
from stablernn.stability.constraints.base import Constraint, checked_every, checked_limit
from stablernn.stability.constraints.forget_caps import cap_forget_gates
from stablernn.utils.errors import ConfigurationError

_INSIDE = 1 - 1e-6  # weights are float32


class IndRNNRange(Constraint):
    """|u_j| <= limit, by clipping: the Euclidean projection. Then the IndRNN contracts at that rate.

    Args:
        limit: λ, in (0, 1).
    """

    cell_type = IndRNNCell

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = self.rate = checked_limit(limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        bound = self.limit * _INSIDE
        cell.weight_hh.copy_(
            torch.where(cell.weight_hh.abs() > self.limit, cell.weight_hh.sign() * bound, cell.weight_hh)
        )

    def norms(self, cell: Cell) -> dict[str, float]:
        return {"max |u|": float(cell.weight_hh.detach().double().abs().max())}


class IndRNNLong(IndRNNRange):
    """|u_j| <= growth^(1/steps): over so many steps no gradient grows by more than ``growth`` (Li et al. 2018).

    That is above 1, so nothing is proven.

    Args:
        steps: T.
        growth: γ, at least 1; 2 in the paper.
    """

    def __init__(self, steps: int, growth: float = 2.0) -> None:
        if steps < 1:
            raise ConfigurationError(f"stability.constraint.steps={steps} must be a whole number >= 1")
        if not 1 <= growth < math.inf:
            raise ConfigurationError(f"stability.constraint.growth={growth} must be a number >= 1")
        self.limit, self.rate = growth ** (1 / steps), None


class _LeastOpen(Constraint):
    """A gate that stays open by some little, whatever the input.

    Inputs that would close it give way, and biases that alone would, as ``forget_caps`` says. Above the first layer
    inputs may exceed 1, and what holds there is for the certificate to say.

    Args:
        limit: λ.
        every: project after every so many updates (and before each evaluation).
    """

    gate: str
    least_limit = 0.0

    def __init__(self, limit: float = 0.999, every: int = 10) -> None:
        if not self.least_limit < limit < 1:
            raise ConfigurationError(f"stability.constraint.limit={limit} must lie in ({self.least_limit:g}, 1)")
        self.limit = self.rate = limit
        self.every = checked_every(every)

    def closed(self) -> float:
        """How far the gate may be closed: a cap of 1 - σ(a) = σ(-a)."""
        return self.limit

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        d, place = cell.hidden_size, cell.GATES.index(self.gate)
        rows = [part[place * d : (place + 1) * d] for part in (cell.weight_ih, cell.bias_ih)]
        for part in rows:
            part.neg_()
        cap_forget_gates(cell, inputs, torch.full_like(rows[1], self.closed()), self.gate)
        for part in rows:
            part.neg_()


class MinGRULeastGate(_LeastOpen):
    """z >= 1 - limit for every input: the minimal GRU contracts at the rate ``limit``. Options: see ``_LeastOpen``."""

    cell_type = MinGRUCell
    gate = "z"


class MinLSTMLeastGate(_LeastOpen):
    """i >= (1 - limit) / limit for every input, and so f / (f + i) <= limit, as f <= 1; limit in (1/2, 1)."""

    cell_type = MinLSTMCell
    gate = "i"
    least_limit = 0.5

    def closed(self) -> float:
        return 2 - 1 / self.limit
