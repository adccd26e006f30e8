"""The temporal convolutional network of Bai, Kolter & Koltun (2018, arXiv 1803.01271)."""

from torch import Tensor, nn

from stablernn.models.dropout import Dropout
from stablernn.models.peers.base import FeedForwardNetwork, channels_first, fit, normed, projection, time_first


class TemporalBlock(nn.Module):
    """relu(x + g(g(x))), g = dropout ∘ relu ∘ convolution; (B, C, S) -> (B, D, S)."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int, dropout: Dropout) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [normed(inputs, outputs, kernel_size, dilation), normed(outputs, outputs, kernel_size, dilation)]
        )
        self.shortcut = projection(inputs, outputs)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for convolution in self.convolutions:
            y = self.dropout(convolution(y).relu())
        return (self.shortcut(x) + y).relu()


class TCN(FeedForwardNetwork):
    """Residual blocks of two causal convolutions with the dilations 1, 2, 4, ...

    Args:
        input_size, hidden_size: E and D.
        num_layers: blocks L; null: as many as k asks for.
        dropout: rate after each convolution.
        k: inputs that an output sees, 1 + 2 (n - 1) (2^L - 1).
        kernel_size: n; null: as k asks for.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int | None, dropout: float, k: int, kernel_size: int | None
    ) -> None:
        super().__init__(input_size, k)
        layers, width = fit(k, num_layers, kernel_size, lambda layers, width: 1 + 2 * (width - 1) * (2**layers - 1))
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(hidden_size if layer else input_size, hidden_size, width, 2**layer, self.dropout)
                for layer in range(layers)
            )
        )

    def whole(self, x: Tensor) -> Tensor:
        return time_first(self.blocks(channels_first(x)))
