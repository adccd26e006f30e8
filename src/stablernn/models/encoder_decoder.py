"""Encoder and decoder: one network of cells reads the source, another one says the target, with or without attention.

The encoder reads the source and the mark behind it, e_1 .. e_n being its outputs. The decoder starts in its last state,
reads the mark and then the target by teacher forcing (Sutskever, Vinyals & Le 2014, arXiv 1409.3215; Cho et al. 2014,
arXiv 1406.1078). With attention it sees a mean of all e_s too, with weights a_ts = softmax_s(score(t, s)):

- ``dot`` (Luong, Pham & Manning 2015, arXiv 1508.04025, global attention): a step comes first, and its output is
  combined with the mean, without feeding that back::

      h_t = cell(x_t, h_{t-1}),   score(t, s) = h_t · e_s,   c_t = Σ_s a_ts e_s,   y_t = tanh(W [c_t, h_t] + b)

- ``additive`` (Bahdanau, Cho & Bengio 2015, arXiv 1409.0473): the state before a step asks, and the step reads the mean
  beside its input; here the encoder reads in one direction::

      score(t, s) = v · tanh(W h_{t-1} + U e_s + b),   c_t = Σ_s a_ts e_s
      h_t = cell([x_t, c_t], h_{t-1}),   y_t = h_t

Axes: T time, S source, B batch, E input size, D hidden size.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stablernn.models.backbone import Backbone, CellFactory, CellStack, stack_of
from stablernn.models.cells.base import Cell
from stablernn.models.recurrent import Recurrent
from stablernn.models.state import rebuild, tensors
from stablernn.utils.errors import ConfigurationError


class EncoderDecoderState(NamedTuple):
    """What is carried from window to window.

    Attributes:
        encoder, decoder: of every layer, of (B, D).
        memory: the encoder's outputs, (S, B, D); S = 0 without attention.
        source: (S, B, 1), whether a position is one of the stream's source.
        begun: (B, 1), whether the target has.
    """

    encoder: Any
    decoder: Any
    memory: Tensor
    source: Tensor
    begun: Tensor


class Decoder(nn.Module):
    """Cells that start where the encoder ends, and see nothing else of the source.

    Args:
        size: D.
    """

    reads_memory = False

    def __init__(self, size: int) -> None:
        super().__init__()
        self.added = 0  # entries of its inputs beside E

    def forward(self, cells: CellStack, x: Tensor, state: Any, memory: Tensor, source: Tensor) -> tuple[Tensor, Any]:
        """x (T, B, E), memory (S, B, D) and source (S, B, 1) -> y (T, B, D) and the state of the cells."""
        return cells(x, state)


class DotAttention(Decoder):
    """The score is a dot product, after the step."""

    reads_memory = True

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.combine = nn.Linear(2 * size, size)

    def forward(self, cells: CellStack, x: Tensor, state: Any, memory: Tensor, source: Tensor) -> tuple[Tensor, Any]:
        h, state = cells(x, state)
        context = mean(self.weights(h, memory, source), memory)
        return torch.tanh(self.combine(torch.cat([context, h], dim=-1))), state

    def weights(self, h: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        """h (T, B, D), memory (S, B, D) -> a (T, B, S)."""
        return normalised(torch.einsum("tbd,sbd->tbs", h, memory), source)


class AdditiveAttention(Decoder):
    """The score is that of a small network, before the step."""

    reads_memory = True

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.added = size
        self.query, self.key = nn.Linear(size, size, bias=False), nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, cells: CellStack, x: Tensor, state: Any, memory: Tensor, source: Tensor) -> tuple[Tensor, Any]:
        keys, outputs = self.key(memory), []
        for inputs in x:
            context = mean(self.weights(state[-1].h[None], keys, source), memory)
            y, state = cells(torch.cat([inputs[None], context], dim=-1), state)
            outputs.append(y)
        return torch.cat(outputs), state

    def weights(self, h: Tensor, keys: Tensor, source: Tensor) -> Tensor:
        """h (T, B, D), keys U e + b (S, B, D) -> a (T, B, S)."""
        scores = self.score(torch.tanh(self.query(h)[:, None] + keys))[..., 0]  # (T, S, B)
        return normalised(scores.transpose(1, 2), source)


def normalised(scores: Tensor, source: Tensor) -> Tensor:
    """Scores (T, B, S) as weights with the sum 1, 0 where ``source`` (S, B, 1) is False."""
    return scores.masked_fill(~source[..., 0].T, float("-inf")).softmax(-1)


def mean(weights: Tensor, memory: Tensor) -> Tensor:
    """Weights (T, B, S), memory (S, B, D) -> (T, B, D)."""
    return torch.einsum("tbs,sbd->tbd", weights, memory)


_ATTENTION: dict[str | None, type[Decoder]] = {None: Decoder, "dot": DotAttention, "additive": AdditiveAttention}


class EncoderDecoder(Backbone):
    """Two stacks of cells, the second of which starts at the mark in the last state of the first.

    Each stream has its own mark, and begins at its own time; further marks are inputs as any other. Before the mark the
    output is the encoder's. So a window of any streams gives what each gives alone, and two windows what one gives.

    Args:
        input_size, hidden_size: E and D.
        num_layers: of the encoder, and of the decoder; attention is over the encoder's last one.
        dropout: rate between the layers.
        cell: of both: (input size, hidden size) -> cell.
        attention: ``dot``, ``additive``; None: none.

    Raises:
        ConfigurationError: there is no such attention, or no number of layers.
    """

    marked = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int | None,
        dropout: float,
        cell: CellFactory,
        attention: str | None = None,
    ) -> None:
        super().__init__()
        if attention not in _ATTENTION:
            known = ", ".join(name for name in _ATTENTION if name)
            raise ConfigurationError(f"model.backbone.attention={attention} is unknown: choose {known} or null")
        if num_layers is None:
            raise ConfigurationError("model.num_layers is not set: an encoder and decoder need a whole number >= 1")
        stack = stack_of(cell, Recurrent)
        self.size, self.attention = hidden_size, attention
        self.decode = _ATTENTION[attention](hidden_size)
        self.encoder = stack(input_size, hidden_size, num_layers, dropout)
        self.decoder = stack(input_size + self.decode.added, hidden_size, num_layers, dropout)

    @property
    def unproven(self) -> str:  # type: ignore[override]
        """See ``Backbone``."""
        if self.attention is None:
            return (
                "a decoder starts where an encoder ends, and the last k inputs do not say which of the two reads them, "
                "so there is no feed-forward model of k inputs"
            )
        return "attention reads all of the source, so there is no k beyond which the past does not matter"

    @property
    def unconstrained(self) -> str:  # type: ignore[override]
        """See ``Backbone``."""
        if self.attention != "additive":
            return ""
        return (
            "with additive attention the inputs of the decoder depend on its state, so no constraint on its cells "
            "makes it stable: choose stability=unstable, or model.backbone.attention=dot or null"
        )

    @property
    def cells_by_layer(self) -> Sequence[Sequence[Cell]]:
        """See ``Backbone``: of each layer that of the encoder and that of the decoder."""
        return list(zip(self.encoder.cells, self.decoder.cells, strict=True))  # type: ignore[arg-type]

    def initial_state(self, batch: int) -> EncoderDecoderState:
        encoder, decoder = self.encoder.initial_state(batch), self.decoder.initial_state(batch)
        memory = next(self.parameters()).new_zeros(0, batch, self.size)
        source = memory.new_zeros(0, batch, 1, dtype=torch.bool)
        return EncoderDecoderState(encoder, decoder, memory, source, memory.new_zeros(batch, 1, dtype=torch.bool))

    def forward(self, x: Tensor, state: EncoderDecoderState) -> tuple[Tensor, EncoderDecoderState]:
        """x (T, B, E + 1), the last entry 1 at a mark -> y (T, B, D) and the state after it."""
        x, marks, length = x[..., :-1], x[..., -1] > 0, len(x)
        begun = state.begun[:, 0]
        before = (marks.cumsum(0) == 0).sum(0)  # inputs of this window before the first mark, (B,)
        begins = before.where(~begun, 0)
        read = (before + 1).clamp(max=length).where(~begun, 0)
        encoded, encoder = self._encode(x, state.encoder, read)
        memory, source = state.memory, state.source
        if self.decode.reads_memory:
            inside = (torch.arange(len(encoded), device=x.device)[:, None] < read)[..., None]
            memory, source = torch.cat([memory, encoded.where(inside, 0)]), torch.cat([source, inside])
        encoded = torch.cat([encoded, encoded.new_zeros(length - len(encoded), *encoded.shape[1:])])
        decoder, starts = state.decoder, sorted({length, *begins.tolist()})
        y = [encoded[: starts[0]]]
        for start, end in pairwise(starts):
            decoder = _choose(~begun & (begins == start), encoder, decoder)
            decoded, decoder = self.decode(self.decoder, x[start:end], decoder, memory, source)
            y.append(decoded.where((begins <= start)[:, None], encoded[start:end]))
        begun = begun | (begins < length)
        decoder = _choose(begun, decoder, state.decoder)  # of a stream that has not begun it is that of no inputs
        return torch.cat(y), EncoderDecoderState(encoder, decoder, memory, source, begun[:, None])

    def _encode(self, x: Tensor, state: Any, read: Tensor) -> tuple[Tensor, Any]:
        """The outputs (S, B, D) of the first S = max(read) inputs, and the state of each stream after ``read`` (B,)."""
        outputs, reached = [x.new_zeros(0, x.shape[1], self.size)], state
        for start, end in pairwise(sorted({0, *read.tolist()})):
            y, state = self.encoder(x[start:end], state)
            reached = _choose(read == end, state, reached)
            outputs.append(y)
        return torch.cat(outputs), reached


def _choose(one: Tensor, state: Any, other: Any) -> Any:
    """Of the streams of two states, those where ``one`` (B,) is True of the first."""
    pairs = zip(tensors(state), tensors(other), strict=True)
    return rebuild(state, (torch.where(one[:, None], first, second) for first, second in pairs))
