"""The minimal GRU."""

import torch
from torch import Tensor

from stablernn.models.cells.elementwise import InputGatedCell


class MinGRUCell(InputGatedCell):
    """The GRU with gate and candidate of the input alone (Feng et al. 2024, "Were RNNs all we needed?", 2410.01201)::

        z = σ(U_z x + b_z),   h~ = U_h x + b_h
        h' = (1 - z) ⊙ h + z ⊙ h~

    In the paper's first form, whose candidate has no nonlinearity. The rows are stacked in the order z, h.
    """

    GATES = ("z", "h")

    def mixture(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, candidate = projected.chunk(2, dim=-1)
        return torch.sigmoid(-z), torch.sigmoid(z), candidate
