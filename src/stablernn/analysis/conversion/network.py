"""A feed-forward model of k inputs as one plain network from inputs to log-probabilities, for export.

It keeps no state and takes no branch that depends on the data, so a tracer sees all of it. Layer j of the k-truncated
model computes

    h_t^(j) = φ(h_{t-1}^(j-1), x_t),    h_t^(0) = 0

at every position at once. What comes from position t - 1 is the layer before, moved one position on, with a row of
zeros entering at the front. That row is the state from which every stream starts, h_{-1}^(j) = 0 for all j, so a
position t < k - 1, which has fewer than k inputs, is in every layer j > t the state from zero over all t + 1 of them:
φ is applied to it again and again, on the same inputs, with the same result. ``models.feed_forward`` leaves
those repetitions out, but needs to know which positions they are; here T and B may be anything, 1 included.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State, map_state
from stablernn.models.feed_forward import check_timeless
from stablernn.models.peers.base import FeedForwardNetwork
from stablernn.models.sequence_model import SequenceModel
from stablernn.utils.errors import ConfigurationError


class Network(nn.Module, ABC):
    """Inputs -> log-probabilities (T, B, V) of all outputs in nats, by k inputs of context or all there are.

    Inputs are ids (T, B) or frames (T, B, E).

    A stream can be scored in pieces that begin k - 1 words early: the first k - 1 rows of a piece are dropped.

    Args:
        model: its weights are shared, not copied.
        k: inputs of context, the current one included.
    """

    def __init__(self, model: SequenceModel, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ConfigurationError(f"k={k}: a feed-forward model needs at least 1 input of context")
        self.inputs = model.inputs
        self.objective = model.objective
        self.k = k

    @abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """(T, B, E), with nothing before them -> (T, B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.inputs, nn.Embedding):
            if x.dim() != 2:
                raise ConfigurationError(f"ids must be (time, batch), and got {tuple(x.shape)}")
            # ONNX counts negative ids from the end of the table. Beyond its end every runtime refuses.
            x = torch.where(x < 0, self.inputs.num_embeddings, x)
        elif x.dim() != 3:
            raise ConfigurationError(f"frames must be (time, batch, entries), and got {tuple(x.shape)}")
        else:
            # A frame outside the box, NaN too, asks for row 1 of a table of one row, which every runtime refuses.
            outside = ~((x >= self.inputs.low) & (x <= self.inputs.high)).all(-1)
            x = x + nn.functional.embedding(outside.long(), x.new_zeros(1, 1))
        return self.objective.distribution(self.features(self.inputs(x)))


class Unrolled(Network):
    """Of recurrent cells: k layers with shared weights, whether the model's own backbone is recurrent or not."""

    def __init__(self, model: SequenceModel, k: int) -> None:
        super().__init__(model, k)
        check_timeless(model.cells)
        self.cells = nn.ModuleList(model.cells)

    def features(self, inputs: Tensor) -> Tensor:
        cells: list[Cell] = list(self.cells)  # type: ignore[arg-type]
        projected = cells[0].project_inputs(inputs)
        # One position and one stream stand for all of them: the first layer's product with zeros costs nothing.
        states: list[State] = [cell.zeros(1, 1) for cell in cells]
        for layer in range(self.k):
            after: list[State] = []
            for cell, state in zip(cells, states, strict=True):
                given = cell.project_inputs(after[-1].h) if after else projected
                after.append(cell.step(given, map_state(_one_later, state) if layer else state))
            states = after
        return states[-1].h


class AsItIs(Network):
    """Of a backbone that is feed-forward by construction."""

    def __init__(self, model: SequenceModel, backbone: FeedForwardNetwork) -> None:
        super().__init__(model, backbone.k)
        self.backbone = backbone

    def features(self, inputs: Tensor) -> Tensor:
        return self.backbone.whole(inputs)


def network_of(model: SequenceModel, k: int) -> Network:
    """The model as a network of k inputs."""
    backbone = model.backbone
    return AsItIs(model, backbone) if isinstance(backbone, FeedForwardNetwork) else Unrolled(model, k)


def _one_later(values: Tensor) -> Tensor:
    """(T, B, D): zeros at position 0, and at t what was at t - 1; in one operation, as T - 1 may be 0 positions."""
    return nn.functional.pad(values, (0, 0, 0, 0, 1, -1))
