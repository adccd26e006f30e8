"""The gated convolutional network of Dauphin, Fan, Auli & Grangier (2017, arXiv 1612.08083)."""

from torch import Tensor, nn

from stablernn.models.dropout import Dropout
from stablernn.models.peers.base import FeedForwardNetwork, channels_first, fit, normed, projection, time_first


class GatedConv(FeedForwardNetwork):
    """Residual layers x + (x * W + b) ⊙ σ(x * V + c), each a causal convolution with weight normalisation.

    Args:
        input_size, hidden_size: E and D.
        num_layers: L; null: as many as k asks for.
        dropout: rate between the layers.
        k: inputs that an output sees, 1 + L (n - 1).
        kernel_size: n; null: as k asks for.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int | None, dropout: float, k: int, kernel_size: int | None
    ) -> None:
        super().__init__(input_size, k)
        layers, width = fit(k, num_layers, kernel_size, lambda layers, width: 1 + layers * (width - 1))
        self.dropout = Dropout(dropout)
        self.project = projection(input_size, hidden_size)
        self.convolutions = nn.ModuleList([normed(hidden_size, 2 * hidden_size, width) for _ in range(layers)])

    def whole(self, x: Tensor) -> Tensor:
        y = self.project(channels_first(x))
        for layer, convolution in enumerate(self.convolutions):
            y = y + nn.functional.glu(convolution(self.dropout(y) if layer else y), dim=1)
        return time_first(y)
