"""The NARX RNN."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from stablernn.models.cells.delayed import DelayedCell, checked_delays


class NARXCell(DelayedCell):
    """h_t = tanh(Σ_d W_d h_{t-d} + U x_t + b) over some delays d: a gradient takes the longest ones as a short cut.

    NARX RNNs as DiPietro et al. (2017, arXiv 1702.07805) write them (Lin, Horne, Tiňo & Giles 1996 have contiguous
    delays, and outputs for h). The matrices stand side by side in ``weight_hh`` (D, n D), with n the number of delays.
    They are drawn uniformly within ±1/√(n D), as PyTorch draws a matrix of as many columns, so that more delays do not
    drive a unit harder; that choice is not a paper's. U and b are drawn as in the RNN.

    Args:
        input_size, hidden_size: E, D.
        delays: d.

    Raises:
        ConfigurationError: delays that are not distinct whole numbers >= 1.
    """

    GATES = ("",)

    def __init__(self, input_size: int, hidden_size: int, delays: Iterable[int] = (1, 2, 4, 8)) -> None:
        self.delays = checked_delays(delays)
        super().__init__(input_size, hidden_size)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return super().shapes() | {"weight_hh": (self.hidden_size, len(self.delays) * self.hidden_size)}

    @torch.no_grad()
    def initialise(self) -> None:
        super().initialise()
        self.weight_hh.div_(math.sqrt(len(self.delays)))

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        matrices = self.weight_hh.split(self.hidden_size, dim=1)
        return {f"W_{delay}": matrix for delay, matrix in zip(self.delays, matrices, strict=True)}

    def combine(self, projected: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        return torch.tanh(projected + nn.functional.linear(torch.cat(tuple(earlier), dim=-1), self.weight_hh))
