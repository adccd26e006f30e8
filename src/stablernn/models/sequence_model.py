"""A model of sequences: input layer, backbone, objective, each replaceable."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stablernn.models.backbone import (
    Backbone,
    BackboneFactory,
    CellFactory,
    CellStack,
    cell_stack,
    other_streams,
    stack_of,
)
from stablernn.models.cells.base import Cell
from stablernn.models.dropout import Dropout
from stablernn.models.heads.base import Head
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.regression import Regression
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.tasks.base import Interface
from stablernn.utils.errors import ConfigurationError, NotApplicableError

INITIAL_RANGE = 0.1
_OF_VECTORS: Mapping[str, Callable[[int, int], Head]] = {"bernoulli": Bernoulli, "real": Regression}


class Frames(nn.Module):
    """An input layer that hands on vectors as they are: (T, B, E) -> (T, B, E)."""

    def __init__(self, size: int, low: float, high: float) -> None:
        super().__init__()
        self.embedding_dim = size
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return x


class SequenceModel(nn.Module):
    """Input layer -> dropout -> backbone -> dropout; the objective turns features and targets into a loss.

    ``forward`` follows the one contract of every model: (x, state) -> (features, state), time first. Dropout on
    the inputs is for embeddings alone: frames are what they are. ``begin`` is the id after which a target begins, for
    backbones that ask for it.
    """

    def __init__(
        self,
        inputs: nn.Embedding | Frames,
        backbone: Backbone,
        objective: Head,
        dropout: float = 0.0,
        begin: int | None = None,
    ) -> None:
        super().__init__()
        if backbone.marked and begin is None:
            raise ConfigurationError(
                "an encoder and decoder read a source and then its target, and this task has no mark between them: "
                "choose dataset=transduction, or another model="
            )
        self.begin = begin
        self.inputs = inputs
        self.backbone = backbone
        self.objective = objective
        self.dropout = Dropout(dropout)

    def initial_state(self, batch: int, lengths: Tensor | None = None) -> Any:
        """That of the backbone, or, where outputs see k inputs, the k - 1 inputs before: at first none.

        Ids (0, B, 1), because the embedding changes from window to window, and its gradient reaches all k words;
        or frames (0, B, E).

        Args:
            lengths: inputs of each stream (B,), where later ones are padding; None: there is none.
        """
        if self._carried is None:
            return self.backbone.begin(batch, lengths)
        if isinstance(self.inputs, Frames):
            return torch.zeros(0, batch, self.inputs.embedding_dim, device=self.device)
        return torch.zeros(0, batch, 1, dtype=torch.int64, device=self.device)

    @property
    def _carried(self) -> int | None:
        """The k of a backbone whose state is the last k - 1 inputs; None: it has a state of its own."""
        return None if self.backbone.whole_sequences else self.backbone.receptive_field

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def embedding(self) -> nn.Embedding:
        """The input layer of a model of ids; raises NotApplicableError for one of frames."""
        if not isinstance(self.inputs, nn.Embedding):
            raise NotApplicableError("not applicable: the model reads frames, and this is about embedded ids")
        return self.inputs

    @property
    def cells(self) -> Sequence[Cell]:
        """The stack of cells of one direction; raises NotApplicableError for a backbone that is none."""
        return cell_stack(self.backbone).cells

    @property
    def input_dropout(self) -> float:
        """The rate of the dropout between input layer and backbone."""
        return self.dropout.p if isinstance(self.inputs, nn.Embedding) else 0.0

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """x, ids (T, B) or frames (T, B, E) -> features (T, B, D) and the state after them."""
        words = self.read(x, state)
        return self.features(words, self.inputs(words), state)

    def read(self, x: Tensor, state: Any) -> Tensor:
        """The inputs of the input layer for a window x (T, B, ...): those carried on, if any, and its own, (S, B, ...).

        Raises:
            ConfigurationError: x has another number of streams than the state, as where its axes are swapped.
        """
        if self._carried is None:
            return x
        before = state if x.dim() > 2 else state[..., 0]
        if x.shape[1:] != before.shape[1:]:
            raise other_streams(x, state.shape[1])
        return torch.cat([before, x])

    def features(self, words: Tensor, embedded: Tensor, state: Any) -> tuple[Tensor, Any]:
        """What ``forward`` gives for inputs (S, B, ...) that were ``read`` and passed the input layer, (S, B, E)."""
        inputs = self.dropout(embedded) if isinstance(self.inputs, nn.Embedding) else embedded
        field = self._carried
        if field is None:
            if self.backbone.marked:
                inputs = torch.cat([inputs, (words == self.begin).to(inputs)[..., None]], dim=-1)
            features, state = self.backbone(inputs, state)
            return self.dropout(features), state
        features, _ = self.backbone(inputs[len(state) :], inputs[: len(state)])
        carried = words[max(0, len(words) - field + 1) :]
        return self.dropout(features), carried if words.dim() > 2 else carried[..., None]

    def loss(self, x: Tensor, targets: Tensor, state: Any, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        """Summed loss in nats (float64 scalar) over all targets (T, B, ...), and the state after the window.

        Args:
            mask: (T, B), False where there is no target; None: there is one everywhere.
        """
        features, state = self(x, state)
        if mask is not None:
            features, targets = features[mask], targets[mask]
        return self.objective(features, targets), state

    def size(self) -> int:
        """Number of trainable parameters, a tied matrix counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_model(
    interface: Interface,
    backbone: BackboneFactory,
    embedding_size: int | None,
    hidden_size: int,
    num_layers: int = 1,
    dropout: float = 0.0,
    tied: bool = False,
    head: Callable[..., Head] = FullSoftmax,
) -> SequenceModel:
    """A model that fits an interface.

    Embedding and decoder start uniform in ±0.1 with a zero decoder bias, the cells as PyTorch's do.

    Args:
        interface: what it reads and predicts.
        backbone: (input size, hidden size, layers, dropout) -> backbone.
        embedding_size, hidden_size: E and D; frames are not embedded, and their size is E. In both directions D is
            the state of one, and features are 2D numbers.
        num_layers: of the backbone.
        dropout: rate on the embedded words, between the layers and on the features.
        tied: the decoder uses the embedding matrix (Press & Wolf 2017); needs E = D.
        head: (types, hidden size, embedding that it is tied to or None) -> head, of a categorical output.
    """
    if tied and embedding_size != hidden_size:
        raise ConfigurationError(
            f"model.tied=true needs model.embedding_size ({embedding_size}) = model.hidden_size ({hidden_size})"
        )
    inputs = _input_layer(interface, embedding_size)
    if tied and interface.inputs != Interface.of_words(interface.outputs.size).inputs:
        raise ConfigurationError("model.tied=true is for models that predict what they read: choose model.tied=false")
    made = backbone(inputs.embedding_dim, hidden_size, num_layers, dropout)
    features = made.directions * hidden_size
    if interface.outputs.kind in _OF_VECTORS:
        objective: Head = _OF_VECTORS[interface.outputs.kind](interface.outputs.size, features)
    else:
        objective = head(interface.outputs.size, features, tied_to=inputs if tied else None)
    if not tied:
        objective.initialise(INITIAL_RANGE)
    return SequenceModel(inputs, made, objective, dropout, interface.inputs.begin)


def build_language_model(
    types: int, cell: CellFactory, stack: Callable[..., CellStack], *args: Any, **options: Any
) -> SequenceModel:
    """``build_model`` over ``types`` words with a stack of such cells."""
    return build_model(Interface.of_words(types), stack_of(cell, stack), *args, **options)


def _input_layer(interface: Interface, embedding_size: int | None) -> nn.Embedding | Frames:
    allowed = interface.inputs
    if allowed.kind == "box":
        return Frames(allowed.size, allowed.low, allowed.high)
    if embedding_size is None:
        raise ConfigurationError("model.embedding_size is not set, and ids are to be embedded")
    embedding = nn.Embedding(allowed.size, embedding_size)
    nn.init.uniform_(embedding.weight, -INITIAL_RANGE, INITIAL_RANGE)
    return embedding
