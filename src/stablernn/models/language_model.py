"""A word-level language model: input layer, backbone, objective, each replaceable."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stablernn.models.dropout import Dropout
from stablernn.models.heads.base import Head
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.recurrent import Backbone, CellFactory
from stablernn.utils.errors import ConfigurationError

INITIAL_RANGE = 0.1


class SequenceModel(nn.Module):
    """Input layer -> dropout -> backbone -> dropout; the objective turns features and targets into a loss.

    ``forward`` follows the one contract of every model: (x, state) -> (features, state), time first.
    """

    def __init__(self, inputs: nn.Embedding, backbone: Backbone, objective: Head, dropout: float = 0.0) -> None:
        super().__init__()
        self.inputs = inputs
        self.backbone = backbone
        self.objective = objective
        self.dropout = Dropout(dropout)

    def initial_state(self, batch: int) -> Any:
        """That of the backbone, or, where outputs see k words, the ids of the k - 1 words before: (0, B, 1) at first.

        Ids, because the embedding changes from window to window, and its gradient reaches all k words.
        """
        if self.backbone.receptive_field is None:
            return self.backbone.initial_state(batch)
        return torch.zeros(0, batch, 1, dtype=torch.int64, device=self.inputs.weight.device)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x (T, B) word ids -> features (T, B, D) and the state after them."""
        words = self.read(x, state)
        return self.features(words, self.inputs(words), state)

    def read(self, x: Tensor, state: Any) -> Tensor:
        """The words that are embedded for a window x (T, B): those carried on, if any, and its own, (S, B).

        Raises:
            ConfigurationError: x has another number of streams than the state, as where its axes are swapped.
        """
        if self.backbone.receptive_field is None:
            return x
        if x.shape[1:] != state.shape[1:-1]:
            raise ConfigurationError(
                f"inputs must be (time, batch, ...): they have {x.shape[1]} streams, and the state has {state.shape[1]}"
            )
        return torch.cat([state[..., 0], x])

    def features(self, words: Tensor, embedded: Tensor, state: Any) -> tuple[Tensor, Any]:
        """What ``forward`` gives for words (S, B) that were ``read`` and are embedded already, (S, B, E)."""
        inputs, field = self.dropout(embedded), self.backbone.receptive_field
        if field is None:
            features, state = self.backbone(inputs, state)
            return self.dropout(features), state
        features, _ = self.backbone(inputs[len(state) :], inputs[: len(state)])
        return self.dropout(features), words[max(0, len(words) - field + 1) :, :, None]

    def loss(self, x: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Summed loss in nats (float64 scalar) over all targets (T, B), and the state after the window."""
        features, state = self(x, state)
        return self.objective(features, targets), state

    def size(self) -> int:
        """Number of trainable parameters, a tied matrix counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_language_model(
    types: int,
    cell: CellFactory,
    backbone: Callable[..., Backbone],
    embedding_size: int,
    hidden_size: int,
    num_layers: int = 1,
    dropout: float = 0.0,
    tied: bool = False,
    head: Callable[..., Head] = FullSoftmax,
) -> SequenceModel:
    """A language model over ``types`` words.

    Embedding and decoder start uniform in ±0.1 with a zero decoder bias, the cells as PyTorch's do.

    Args:
        types: vocabulary size V.
        cell: (input size, hidden size) -> cell.
        backbone: (cells, dropout) -> backbone.
        embedding_size, hidden_size: E and D.
        num_layers: cells in the stack.
        dropout: rate on the embedded words, between the layers and on the features.
        tied: the decoder uses the embedding matrix (Press & Wolf 2017); needs E = D.
        head: (types, hidden size, embedding that it is tied to or None) -> head.
    """
    if tied and embedding_size != hidden_size:
        raise ConfigurationError(
            f"model.tied=true needs model.embedding_size ({embedding_size}) = model.hidden_size ({hidden_size})"
        )
    inputs = nn.Embedding(types, embedding_size)
    nn.init.uniform_(inputs.weight, -INITIAL_RANGE, INITIAL_RANGE)
    sizes = [embedding_size] + [hidden_size] * num_layers
    cells = [cell(sizes[layer], sizes[layer + 1]) for layer in range(num_layers)]
    objective = head(types, hidden_size, tied_to=inputs if tied else None)
    if not tied:
        objective.initialise(INITIAL_RANGE)
    return SequenceModel(inputs, backbone(cells, dropout), objective, dropout)
