"""Constraints on cells that read their own outputs of some steps ago; ``proofs.delayed`` derives what they prove."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.mist import MISTCell
from stablernn.models.cells.narx import NARXCell
from stablernn.stability.constraints.base import Constraint, checked_limit, spectral_norm, two_norm
from stablernn.stability.constraints.small_gain import project_rows
from stablernn.stability.constraints.spectral import clip_singular_values

_INSIDE = 1 - 6e-6  # weights are float32
_LEAST_SHARE = 1e-6  # of a matrix that is zero, beside the largest one
_LEAST_POWER = 1e-100  # of a rate: float32 has no weights that are as small


def shares(norms: Mapping[int, float], rate: float) -> dict[int, float]:
    """p_d, proportional to ‖W_d‖_2 rate^-d, of the norms by their delays d."""
    least = _LEAST_SHARE * max(norms.values()) or 1.0
    sizes = {delay: (norm + least) / _power(rate, delay) for delay, norm in norms.items()}
    total = sum(sizes.values())
    return {delay: size / total for delay, size in sizes.items()}


def scales(norms: Mapping[int, float], rate: float) -> dict[int, float]:
    """rate^-d / √p_d by the delays d."""
    return {delay: 1 / _power(rate, delay) / math.sqrt(share) for delay, share in shares(norms, rate).items()}


def stacked(blocks: Mapping[int, Tensor], factors: Mapping[int, float]) -> Tensor:
    """The matrices (D, D) of all delays, each times its factor, side by side; transposed, (delays D, D)."""
    return torch.cat([block.T * factors[delay] for delay, block in blocks.items()])


def _power(rate: float, delay: int) -> float:
    return max(rate**delay, _LEAST_POWER)


class DelayedBall(Constraint):
    """‖[W_d λ^-d / √p_d]_d‖_2 <= 1 with shares p_d as ‖W_d‖_2 λ^-d: NARX and dilated RNNs contract at the rate λ.

    Of a dilated RNN that is ‖W‖_2 <= λ^s, and the projection is the Euclidean one. Of several matrices the singular
    values of the whole are clipped, with the shares of before; where those of the result would say more than 1, it
    is scaled.

    Args:
        limit: λ a step, in (0, 1).
    """

    cell_type = NARXCell
    synchronizes = True

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = self.rate = checked_limit(limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, NARXCell)
        if not bool(cell.weight_hh.isfinite().all()):  # training refuses it by its loss
            return
        if len(cell.delays) == 1:
            clip_singular_values(cell.weight_hh, self.limit ** cell.delays[0])
            return
        size = cell.hidden_size
        blocks = dict(zip(cell.delays, cell.weight_hh.double().split(size, dim=1), strict=True))
        factors = self._factors(blocks)
        whole = stacked(blocks, factors)
        if float(two_norm(whole)) <= 1:
            return
        clip_singular_values(whole, 1.0)
        for delay, part in zip(blocks, whole.split(size), strict=True):
            blocks[delay] = part.T / factors[delay]
        norm = float(two_norm(stacked(blocks, self._factors(blocks))))
        cell.weight_hh.copy_(torch.cat(list(blocks.values()), dim=1) * min(1.0, _INSIDE / norm))

    def _factors(self, blocks: Mapping[int, Tensor]) -> dict[int, float]:
        return scales({delay: spectral_norm(block) for delay, block in blocks.items()}, self.limit)


class MISTRows(Constraint):
    """‖W‖_∞ (λ^-n + (‖W_r‖_∞ / 4 + Σ_k max_i |W_a,ik|) / λ) <= 1, n the longest delay: the MIST RNN contracts at λ.

    The gates stay as they are, and of W the rows that are too long move to the nearest point of a ball of the 1-norm. W
    is the smaller the more the gates depend on the state.

    Args:
        limit: λ a step, in (0, 1).
    """

    cell_type = MISTCell

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = self.rate = checked_limit(limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, MISTCell)
        by_r, weight, by_a = cell.weight_hh.split(cell.rows())
        at_once = by_r.double().abs().sum(1).max() / 4 + by_a.double().abs().amax(0).sum()
        most = 1 / (1 / _power(self.limit, cell.delays[-1]) + at_once / self.limit)
        exact = weight.double()
        nearest = project_rows(exact, torch.ones_like(exact), (most * _INSIDE).expand(len(exact)))
        weight.copy_(torch.where(exact.abs().sum(1, keepdim=True) <= most, exact, nearest))
