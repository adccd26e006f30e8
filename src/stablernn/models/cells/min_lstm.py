"""The minimal LSTM."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from stablernn.models.cells.elementwise import InputGatedCell


class MinLSTMCell(InputGatedCell):
    """The LSTM with gates and candidate of the input alone (Feng et al. 2024, "Were RNNs all we needed?", 2410.01201)::

        f, i = σ(U_• x + b_•),   h~ = U_h x + b_h
        f' = f / (f + i),   i' = i / (f + i)
        h' = f' ⊙ h + i' ⊙ h~

    The gates are divided by their sum, so that f' + i' = 1 and h keeps its scale. There is no output gate and no cell
    state beside h. The rows are stacked in the order f, i, h.
    """

    GATES = ("f", "i", "h")

    def mixture(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f, i, candidate = projected.chunk(3, dim=-1)
        more = logsigmoid(f) - logsigmoid(i)  # f / (f + i) = σ(log f - log i)
        return torch.sigmoid(more), torch.sigmoid(-more), candidate
