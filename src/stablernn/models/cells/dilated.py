"""The dilated RNN."""

from collections.abc import Mapping

import torch
from torch import Tensor

from stablernn.models.cells.delayed import DelayedState
from stablernn.models.cells.narx import NARXCell
from stablernn.models.kernels.tanh import tanh_recurrence
from stablernn.utils.errors import ConfigurationError


class DilatedRNNCell(NARXCell):
    """h_t = tanh(W h_{t-s} + U x_t + b): a layer is s tanh-RNNs that take turns (Chang et al. 2017, arXiv 1710.02224).

    In a stack s grows from layer to layer, s = dilation · growth^layer, so that the upper layers have short paths
    through time and the lower ones see every step.

    Args:
        input_size, hidden_size: E, D.
        dilation: s of the first layer.
        growth: s of a layer divided by that of the layer below; M in the paper, where it is 2.

    Raises:
        ConfigurationError: one of them is below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, dilation: int = 1, growth: int = 2) -> None:
        for option, value in (("dilation", dilation), ("growth", growth)):
            if value < 1:
                raise ConfigurationError(f"model.cell.{option}={value} must be a whole number >= 1")
        self.growth = growth
        super().__init__(input_size, hidden_size, (dilation,))

    def place(self, layer: int) -> None:
        self.delays = (self.delays[0] * self.growth**layer,)

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {"W": self.weight_hh}

    def sequence(self, x: Tensor, state: DelayedState) -> tuple[Tensor, DelayedState]:
        """s streams in the place of one: s steps at once, as none of them reads another."""
        (skip,) = self.delays
        before = self.oldest_first(state)
        projected = self.project_inputs(x)
        steps, *rest = projected.shape
        padded = torch.cat([projected, projected.new_zeros(-steps % skip, *rest)])
        h = tanh_recurrence(padded.view(-1, skip * rest[0], rest[1]), torch.cat(before), self.weight_hh)
        y = h.view(padded.shape)[:steps]
        return y, self.newest([*before, *y[-skip:].unbind(0)])
