"""A recurrent network that reads whole sequences in both directions (Schuster & Paliwal 1997).

Each layer has two cells: one reads the sequence forwards, one backwards. The layer above reads the states of both at
every position, as in ``torch.nn.LSTM(bidirectional=True)``.

Axes: T time, B batch, E input size, D hidden size, the state of one direction; a layer puts out 2 D numbers.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from stablernn.models.backbone import Backbone, BackboneFactory, CellFactory, other_streams
from stablernn.models.cells.base import Cell
from stablernn.models.cells.contract import make_cell
from stablernn.models.dropout import Dropout
from stablernn.models.feed_forward import check_timeless
from stablernn.utils.errors import ConfigurationError

_AS_READ = 2**62  # a length for streams that end where the inputs end


class BothDirections(Backbone):
    """Layers of two cells, or the same network on the 2k - 1 inputs around each position alone.

    The state is the number of inputs of each stream, (B, 1): what lies beyond is padding, and nothing depends on it. A
    stream is reversed within its length. After a sequence it is (B, 0), and the sequence cannot be continued.

    Args:
        layers: (forward cell, backward cell) of each, the first one next to the inputs.
        dropout: rate between the layers.
        k: inputs that an output sees on each side, its own counted on both; None: all of its sequence.

    Raises:
        ConfigurationError: k is below 1, or a cell depends on the time and k inputs do not tell it.
    """

    whole_sequences: ClassVar[bool] = True
    directions: ClassVar[int] = 2

    def __init__(self, layers: Sequence[tuple[Cell, Cell]], dropout: float = 0.0, k: int | None = None) -> None:
        super().__init__()
        forwards, backwards = zip(*layers, strict=True)
        self.forwards: Sequence[Cell] = nn.ModuleList(forwards)  # type: ignore[assignment]
        self.backwards: Sequence[Cell] = nn.ModuleList(backwards)  # type: ignore[assignment]
        self.dropout = Dropout(dropout)
        self.k = k
        if k is not None:
            if k < 1:
                raise ConfigurationError(f"truncation.k={k}: the feed-forward model needs at least 1 input")
            check_timeless([*forwards, *backwards])

    @property
    def cells_by_layer(self) -> Sequence[Sequence[Cell]]:
        return list(zip(self.forwards, self.backwards, strict=True))

    @property
    def receptive_field(self) -> int | None:
        return None if self.k is None else 2 * self.k - 1

    def initial_state(self, batch: int) -> Tensor:
        return self.begin(batch, None)

    def begin(self, batch: int, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return next(self.parameters()).new_full((batch, 1), _AS_READ, dtype=torch.int64)
        return lengths[:, None]

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if not state.shape[-1]:
            raise ConfigurationError(
                "a network of both directions reads a sequence whole, and this state is of one that was read: begin "
                "each with initial_state"
            )
        if x.shape[1] != len(state):
            raise other_streams(x, len(state))
        lengths = state[:, 0].clamp(max=len(x))
        y = self.truncated(x, lengths, self.k) if self.k else self.whole(x, lengths)
        return y, state[:, :0]

    def whole(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Outputs (T, B, 2D) of streams x (T, B, E) of so many inputs each, (B,)."""
        batch = x.shape[1]
        places = torch.arange(len(x), device=x.device)[:, None]
        places = torch.where(places < lengths, lengths - 1 - places, places)  # its own inverse
        for layer, (forwards, backwards) in enumerate(self.cells_by_layer):
            x = self.dropout(x) if layer else x
            before, _ = forwards.sequence(x, forwards.zeros(batch))
            after, _ = backwards.sequence(_at(x, places), backwards.zeros(batch))
            x = torch.cat([before, _at(after, places)], dim=-1)
        return x

    def truncated(self, x: Tensor, lengths: Tensor, k: int) -> Tensor:
        """``whole`` of the inputs t - k + 1 .. t + k - 1 of each position t, as if there were no others: (T, B, 2D).

        With one layer each state is that of its own k inputs, h_t^(k) of one direction. The states of a lower layer
        within a window depend on both of its ends, so windows share no work.
        """
        length, batch = x.shape[:2]
        if k >= length:
            return self.whole(x, lengths)
        positions = torch.arange(length, device=x.device)
        begins = (positions - k + 1).clamp(min=0)
        places = begins + torch.arange(min(2 * k - 1, length), device=x.device)[:, None]
        windows = x[places.clamp(max=length - 1)]  # (2k - 1, T, B, E)
        ends = torch.minimum(lengths, positions[:, None] + k)
        sizes = (ends - begins[:, None]).clamp(min=1)  # (T, B); around padding there may be nothing
        y = self.whole(windows.flatten(1, 2), sizes.flatten()).unflatten(1, (length, batch))
        return y[positions - begins, positions]


def both_directions(cell: CellFactory, k: int | None = None) -> BackboneFactory:
    """(input size E, hidden size D, layers, dropout) -> layers of two such cells: E -> 2D -> ... -> 2D."""

    def build(input_size: int, hidden_size: int, num_layers: int, dropout: float) -> BothDirections:
        layers = []
        for layer in range(num_layers):
            pair = make_cell(cell, input_size, hidden_size), make_cell(cell, input_size, hidden_size)
            for one in pair:
                one.place(layer)
            layers.append(pair)
            input_size = 2 * hidden_size
        return BothDirections(layers, dropout, k)

    return build


def _at(x: Tensor, places: Tensor) -> Tensor:
    """x (T, B, E) at other times of each stream, (T, B)."""
    return x.gather(0, places[..., None].expand_as(x))
