"""Constraints on h' = φ(W h + U x + b) with a 1-Lipschitz φ other than tanh: ‖W‖_2 below 1, or W orthogonal."""

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.irnn import IRNNCell
from stablernn.models.cells.orthogonal import OrthogonalCell
from stablernn.stability.constraints.base import Constraint
from stablernn.stability.constraints.spectral import SpectralNormBall, clip_singular_values

_ORTHOGONAL = 1e-6  # the entries of Wᵀ W - I that float32 leaves of an orthogonal matrix


class ReluBall(SpectralNormBall):
    """‖W‖_2 <= limit for an IRNN, np-RNN or RIN (W = V + I), by the Euclidean projection: relu is 1-Lipschitz.

    Args:
        limit: λ, in (0, 1).
    """

    cell_type = IRNNCell

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, IRNNCell)
        before = cell.matrix()
        weight = before.clone()
        clip_singular_values(weight, self.limit)
        cell.weight_hh.add_(weight - before)  # exactly nothing where W was inside


class OrthogonalBall(SpectralNormBall):
    """‖W‖_2 <= limit and b <= 0: modReLU is then 1-Lipschitz, and the cell contracts.

    Args:
        limit: λ, in (0, 1).
    """

    cell_type = OrthogonalCell

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, OrthogonalCell)
        clip_singular_values(cell.weight_hh, self.limit)
        cell.threshold.clamp_max_(0)


class OrthogonalPolar(Constraint):
    """W orthogonal: its polar factor, the nearest orthogonal matrix in the Frobenius norm (Fan & Hoffman 1955).

    It leaves lengths as they are, so nothing is proven.
    """

    cell_type = OrthogonalCell
    synchronizes = True

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        weight = cell.weight_hh
        if not bool(weight.isfinite().all()):  # training refuses it by its loss
            return
        exact = weight.double()
        gram = exact.T @ exact
        gram.diagonal().sub_(1)
        if float(gram.abs().max()) > _ORTHOGONAL:
            left, _, right = torch.linalg.svd(exact)
            weight.copy_(left @ right)
