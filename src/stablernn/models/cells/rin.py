"""The recurrent identity network."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stablernn.models.cells.irnn import IRNNCell


class RINCell(IRNNCell):
    """h' = relu((V + I) h + U x + b): the identity is no initial value but a part of the network, and V is trained.

    Hu, Huber, Anumula & Liu (2018, arXiv 1801.06105). V and U are normal with deviation 0.001, b = 0. Decay of the
    weights, or a projection of V, leads back to the identity and not to zero.
    """

    def __init__(self, input_size: int, hidden_size: int, deviation: float = 1e-3) -> None:
        self.deviation = deviation
        super().__init__(input_size, hidden_size)

    def initialise(self) -> None:
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.normal_(weight, std=self.deviation)
        for bias in (self.bias_ih, self.bias_hh):
            nn.init.zeros_(bias)

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {"V": self.weight_hh}

    def matrix(self) -> Tensor:
        """V + I (D, D)."""
        return self.weight_hh + torch.eye(self.hidden_size, dtype=self.weight_hh.dtype, device=self.weight_hh.device)
