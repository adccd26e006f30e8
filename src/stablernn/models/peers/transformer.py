"""A causal Transformer (Vaswani et al. 2017, arXiv 1706.03762) whose layers attend to a window of inputs."""

import torch
from torch import Tensor, nn

from stablernn.models.dropout import Dropout
from stablernn.models.peers.base import FeedForwardNetwork, fit
from stablernn.utils.errors import ConfigurationError


class WindowedAttention(nn.Module):
    """Position t attends to t - w + 1 .. t; (S, B, D) -> (S, B, D), with 2 w scores a position.

    Rotary positions (Su et al., arXiv 2104.09864) enter as differences alone, so that it does not matter where a
    sequence begins.
    """

    frequencies: Tensor

    def __init__(self, size: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.project = nn.Linear(size, 3 * size)  # queries, keys, values
        self.out = nn.Linear(size, size)
        pairs = size // heads // 2
        self.register_buffer("frequencies", 10_000.0 ** (-torch.arange(pairs) / pairs), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[0], device=x.device)
        queries, keys, values = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 1, 3, 0, 4)
        angles = positions[:, None] * self.frequencies
        # An exported program serves every S, so it has no choice between the two.
        short = not torch.compiler.is_exporting() and x.shape[0] <= 2 * self.window
        attend = attend_at_once if short else attend_in_blocks
        mixed = attend(rotate(queries, angles), rotate(keys, angles), values, self.window)
        return self.out(mixed.permute(2, 0, 1, 3).flatten(2))


def attend_at_once(queries: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """Each of (B, H, S, P); the scores of all pairs of positions, S^2 of them."""
    positions = torch.arange(queries.shape[2], device=queries.device)
    distance = positions[:, None] - positions
    seen = (distance >= 0) & (distance < window)
    return nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)


def attend_in_blocks(queries: Tensor, keys: Tensor, values: Tensor, window: int) -> Tensor:
    """The same with 2 S w scores: positions in a block of w see nothing before the block that precedes theirs.

    Blocks are made by indices: no size has to be a multiple of another, so that an exported program serves every S.
    """
    steps = queries.shape[2]
    blocks = steps // window + 2  # one more than needed: a program is exported for one block or for several
    within = torch.arange(-window, window, device=queries.device)
    positions = torch.arange(blocks, device=queries.device)[:, None] * window + within  # (N, 2 w)
    distance = within[window:, None] - within
    seen = (distance >= 0) & (distance < window) & (positions >= 0)[:, None]

    def in_blocks(x: Tensor, positions: Tensor) -> Tensor:
        """(B, H, S, P) -> (B H, N, ..., P); what lies outside is repeated from the ends, and is not seen."""
        return x.flatten(0, 1)[:, positions.clamp(0, steps - 1)]

    mixed = nn.functional.scaled_dot_product_attention(
        in_blocks(queries, positions[:, window:]), in_blocks(keys, positions), in_blocks(values, positions), seen
    )
    every = torch.arange(steps, device=queries.device)
    return mixed[:, every // window, every % window].unflatten(0, queries.shape[:2])


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """x (..., S, 2P) with the entries p and P + p turned as a plane by the angles (S, P)."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)): normalisation comes first (Xiong et al., arXiv 2002.04745)."""

    def __init__(self, size: int, heads: int, window: int, expansion: int, dropout: Dropout) -> None:
        super().__init__()
        self.before_attention, self.before_network = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = WindowedAttention(size, heads, window)
        self.network = nn.Sequential(
            nn.Linear(size, expansion * size), nn.GELU(), dropout, nn.Linear(expansion * size, size)
        )
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.before_attention(x)))
        return x + self.dropout(self.network(self.before_network(x)))


class Transformer(FeedForwardNetwork):
    """L layers of windows of w = 1 + (k - 1) / L inputs: what one layer hands on comes from w, all together from k.

    Args:
        input_size, hidden_size: E and D.
        num_layers: L.
        dropout: rate within the layers; weights of attention are not dropped.
        k: inputs that an output sees, 1 + L (w - 1).
        heads: of attention.
        expansion: entries of the hidden layer of each network by D.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int | None,
        dropout: float,
        k: int,
        heads: int,
        expansion: int,
    ) -> None:
        super().__init__(input_size, k)
        if num_layers is None:
            raise ConfigurationError("model.num_layers is not set: a Transformer needs a whole number >= 1")
        if heads < 1 or hidden_size % (2 * heads):
            raise ConfigurationError(
                f"model.hidden_size={hidden_size} must be a multiple of twice model.backbone.heads={heads}"
            )
        layers, window = fit(k, num_layers, None, lambda layers, width: 1 + layers * (width - 1))
        self.dropout = Dropout(dropout)
        self.project = nn.Identity() if input_size == hidden_size else nn.Linear(input_size, hidden_size)
        self.layers = nn.Sequential(
            *(TransformerLayer(hidden_size, heads, window, expansion, self.dropout) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(hidden_size)

    def whole(self, x: Tensor) -> Tensor:
        return self.norm(self.layers(self.project(x)))
