"""Cells without recurrent matrices: a unit of a layer depends on its own past, not on other units of it."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.models.kernels.scan import linear_scan, scan


class ElementwiseCell(Cell):
    """A cell that has an input matrix (G, E), one bias (G,), and no recurrent matrix."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        rows = len(self.GATES) * self.hidden_size
        return {"weight_ih": (rows, self.input_size), "bias_ih": (rows,)}

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {}

    def input_biases(self) -> tuple[Tensor, Tensor]:
        return self.bias_ih, torch.zeros_like(self.bias_ih)


class InputGatedCell(ElementwiseCell):
    """h' = (1 - z) ⊙ h + z ⊙ h~, with z in (0, 1) and h~ functions of the input alone.

    The recurrence is linear in h, so a whole sequence is one scan, and |h| never exceeds the largest |h~|.
    """

    state_type = RNNState

    @abstractmethod
    def mixture(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """1 - z, z and h~ of the input products (..., G): (..., D) each. 1 - z on its own, as z may round to 1."""

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        stays, z, candidate = self.mixture(projected)
        return RNNState(stays * state.h + z * candidate)

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        stays, z, candidate = self.mixture(self.project_inputs(x))
        h = scan(stays, z * candidate, state.h)
        return h, RNNState(h[-1])

    def newton(self, projected: Tensor, before: RNNState, initial: RNNState) -> tuple[RNNState, RNNState]:
        """Exact after one iteration, as nothing but h itself is iterated."""
        stays, z, candidate = self.mixture(projected)
        return (
            RNNState(stays * before.h + z * candidate),
            RNNState(linear_scan(stays, z * candidate, initial.h)),
        )
