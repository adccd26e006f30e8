"""WaveNet (van den Oord et al. 2016, arXiv 1609.03499), without its mixture over quantised samples."""

import torch
from torch import Tensor, nn

from stablernn.models.dropout import Dropout
from stablernn.models.peers.base import (
    CausalConvolution,
    FeedForwardNetwork,
    channels_first,
    fit,
    projection,
    time_first,
)


class WaveNet(FeedForwardNetwork):
    """Dilated layers z = tanh(x * W) ⊙ σ(x * V), x + P z to the next one; y = relu(Q relu(Σ S z)) of all of them.

    The head's own product is the last convolution of the paper, which has size 1.

    Args:
        input_size, hidden_size: E and D, the latter for residual and skip channels.
        num_layers: L; null: as many as k asks for.
        dropout: rate between the layers.
        k: inputs that an output sees, 1 + (n - 1) Σ dilations; 2^L where n = 2 and L <= cycle.
        kernel_size: n; null: as k asks for.
        cycle: layers after which the dilations 1, 2, 4, ... begin again.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int | None,
        dropout: float,
        k: int,
        kernel_size: int | None,
        cycle: int,
    ) -> None:
        super().__init__(input_size, k)

        def dilations(layers: int) -> list[int]:
            return [2 ** (layer % cycle) for layer in range(layers)]

        layers, width = fit(k, num_layers, kernel_size, lambda layers, width: 1 + (width - 1) * sum(dilations(layers)))
        size = hidden_size
        self.dropout = Dropout(dropout)
        self.project = projection(input_size, size)
        self.gated = nn.ModuleList([CausalConvolution(size, 2 * size, width, each) for each in dilations(layers)])
        self.residual = nn.ModuleList([CausalConvolution(size, size) for _ in range(layers - 1)])
        self.skip = nn.ModuleList([CausalConvolution(size, size) for _ in range(layers)])
        self.last = CausalConvolution(size, size)

    def whole(self, x: Tensor) -> Tensor:
        y = self.project(channels_first(x))
        outputs = []
        for layer, (gated, skip) in enumerate(zip(self.gated, self.skip, strict=True)):
            filters, gates = gated(self.dropout(y) if layer else y).chunk(2, dim=1)
            z = filters.tanh() * gates.sigmoid()
            outputs.append(skip(z))
            if layer < len(self.residual):
                y = y + self.residual[layer](z)
        return time_first(self.last(torch.stack(outputs).sum(0).relu()).relu())
