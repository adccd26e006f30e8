"""The k-truncated model as one plain network from inputs to log-probabilities, for export.

It keeps no state and takes no branch that depends on the data, so a tracer sees all of it. Layer j computes

    h_t^(j) = φ(h_{t-1}^(j-1), x_t),    h_t^(0) = 0

at every position at once. What comes from position t - 1 is the layer before, moved one position on, with a row of
zeros entering at the front. That row is the state from which every stream starts, h_{-1}^(j) = 0 for all j, so a
position t < k - 1, which has fewer than k inputs, is in every layer j > t the state from zero over all t + 1 of them:
φ is applied to it again and again, on the same inputs, with the same result. ``models.feed_forward`` leaves
those repetitions out, but needs to know which positions they are; here T and B may be anything, 1 included.
"""

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State, map_state
from stablernn.models.sequence_model import SequenceModel
from stablernn.utils.errors import ConfigurationError


class Unrolled(nn.Module):
    """Inputs -> log-probabilities (T, B, V) of all outputs in nats, by k inputs of context or all there are.

    Inputs are ids (T, B) or frames (T, B, E).

    A stream can be scored in pieces that begin k - 1 words early: the first k - 1 rows of a piece are dropped.

    Args:
        model: its weights are shared, not copied; whether its own backbone is recurrent does not matter.
        k: inputs of context, the current one included.
    """

    def __init__(self, model: SequenceModel, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ConfigurationError(f"k={k}: a feed-forward model needs at least 1 input of context")
        self.inputs = model.inputs
        self.cells = nn.ModuleList(model.cells)
        self.objective = model.objective
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.inputs, nn.Embedding):
            if x.dim() != 2:
                raise ConfigurationError(f"ids must be (time, batch), got {x.dim()} axes")
            # ONNX counts negative ids from the end of the table. Beyond its end every runtime refuses.
            x = torch.where(x < 0, self.inputs.num_embeddings, x)
        elif x.dim() != 3:
            raise ConfigurationError(f"frames must be (time, batch, entries), got {x.dim()} axes")
        else:
            # A frame outside the box, NaN too, asks for row 1 of a table of one row, which every runtime refuses.
            outside = ~((x >= self.inputs.low) & (x <= self.inputs.high)).all(-1)
            x = x + nn.functional.embedding(outside.long(), x.new_zeros(1, 1))
        cells: list[Cell] = list(self.cells)  # type: ignore[arg-type]
        projected = cells[0].project_inputs(self.inputs(x))
        # One position and one stream stand for all of them: the first layer's product with zeros costs nothing.
        states: list[State] = [cell.zeros(1, 1) for cell in cells]
        for layer in range(self.k):
            after: list[State] = []
            for cell, state in zip(cells, states, strict=True):
                inputs = cell.project_inputs(after[-1].h) if after else projected
                after.append(cell.step(inputs, map_state(_one_later, state) if layer else state))
            states = after
        return self.objective.distribution(states[-1].h)


def _one_later(values: Tensor) -> Tensor:
    """(T, B, D): zeros at position 0, and at t what was at t - 1; in one operation, as T - 1 may be 0 positions."""
    return nn.functional.pad(values, (0, 0, 0, 0, 1, -1))
