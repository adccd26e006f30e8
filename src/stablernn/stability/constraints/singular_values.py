"""Singular values clipped so that gradients neither explode nor vanish at once; neither constraint proves anything."""

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.stability.constraints.base import Constraint
from stablernn.stability.constraints.spectral import clip_singular_values
from stablernn.utils.errors import ConfigurationError

_ROUNDING = 1e-6  # of singular values of float32 matrices


class RNNSingularBand(Constraint):
    """1 - margin <= σ_i(W) <= 1 + margin, by clipping the singular values: the Euclidean projection.

    The set of Vorontsov, Trabelsi, Kadoury & Pal (2017, arXiv 1702.00071) and of Zhang, Lei & Dhillon (2018, arXiv
    1803.09327), who reach it by a parametrization. ‖W‖_2 may be above 1, so nothing is proven.

    Args:
        margin: m, in [0, 1); 0: W is orthogonal.
    """

    cell_type = RNNCell
    synchronizes = True

    def __init__(self, margin: float = 0.01) -> None:
        if not 0 <= margin < 1:
            raise ConfigurationError(f"stability.constraint.margin={margin} must lie in [0, 1)")
        self.low, self.high = 1 - margin, 1 + margin

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        weight = cell.recurrent_blocks()["W"]
        if not bool(weight.isfinite().all()):  # training refuses it by its loss
            return
        left, singular, right = torch.linalg.svd(weight.double())
        if float(singular[0]) > self.high + _ROUNDING or float(singular[-1]) < self.low - _ROUNDING:
            weight.copy_((left * singular.clamp(self.low, self.high)) @ right)


class GRUSingularValues(Constraint):
    """‖W_n‖_2 <= limit < 2, by clipping singular values (Kanai, Fujiwara & Iwamura 2017, NeurIPS).

    Without inputs and biases the state 0 stays 0, and there ∂h'/∂h = I / 2 + W_n / 4, of a norm below 1. That is
    stability at one state, so nothing is proven. It keeps the dynamics from the bifurcation at which gradients explode.

    Args:
        limit: in (0, 2); 2 - δ in the paper.
    """

    cell_type = GRUCell

    def __init__(self, limit: float = 1.9) -> None:
        if not 0 < limit < 2:
            raise ConfigurationError(f"stability.constraint.limit={limit} must lie in (0, 2)")
        self.limit = limit

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        clip_singular_values(cell.recurrent_blocks()["W_n"], self.limit)
