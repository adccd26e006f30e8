"""What networks that are feed-forward by construction share: the inputs that they keep, and their size by k."""

from abc import abstractmethod
from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from stablernn.models.backbone import Backbone, other_streams
from stablernn.utils.errors import ConfigurationError


class FeedForwardNetwork(Backbone):
    """A causal network in which an output depends on its last k inputs; its state is the last k - 1 inputs.

    The carried inputs, (k - 1, B, E) or fewer at the start, go through the network once more. So the gradient reaches
    all k inputs of an output, across the border of a window too, and a window of T steps costs T + k - 1.
    """

    def __init__(self, input_size: int, k: int) -> None:
        super().__init__()
        self.input_size, self.k = input_size, k

    @property
    def receptive_field(self) -> int:
        return self.k

    @abstractmethod
    def whole(self, x: Tensor) -> Tensor:
        """The outputs (S, B, D) for a sequence x (S, B, E) with nothing before it."""

    def initial_state(self, batch: int) -> Tensor:
        return next(self.parameters()).new_zeros(0, batch, self.input_size)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != state.shape[1:]:
            raise other_streams(x, state.shape[1])
        inputs = torch.cat([state, x])
        return self.whole(inputs)[len(state) :], inputs[max(0, len(inputs) - self.k + 1) :]


class CausalConvolution(nn.Conv1d):
    """(B, C, S) -> (B, D, S): position t sees t, t - d, ..., t - (n - 1) d, and zeros before the start.

    Args:
        inputs, outputs: channels C and D.
        kernel_size: n.
        dilation: d.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size, dilation=dilation)
        self.lead = (kernel_size - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (self.lead, 0)))


def normed(inputs: int, outputs: int, kernel_size: int, dilation: int = 1) -> nn.Module:
    """A ``CausalConvolution`` whose filters are learnt as lengths and directions (Salimans & Kingma 2016)."""
    return weight_norm(CausalConvolution(inputs, outputs, kernel_size, dilation))


def projection(inputs: int, outputs: int) -> nn.Module:
    """(B, C, S) -> (B, D, S), position by position; nothing is changed where C = D."""
    return nn.Identity() if inputs == outputs else CausalConvolution(inputs, outputs)


def channels_first(x: Tensor) -> Tensor:
    """(S, B, C) -> (B, C, S), as convolutions have it."""
    return x.permute(1, 2, 0)


def time_first(x: Tensor) -> Tensor:
    """(B, C, S) -> (S, B, C)."""
    return x.permute(2, 0, 1)


def fit(
    k: int, num_layers: int | None, width: int | None, field: Callable[[int, int], int], option: str = "kernel_size"
) -> tuple[int, int]:
    """The layers and the width of each that make an output see exactly k inputs; the one that is None follows from k.

    Args:
        field: (layers, width) -> the inputs that an output sees; it grows with both.
        option: of the model, that gives the width.

    Raises:
        ConfigurationError: no such network sees k inputs; names the nearest k.
    """
    named = f"model.backbone.{option}"
    given = [f"model.num_layers={num_layers}"] * (num_layers is not None) + [f"{named}={width}"] * (width is not None)
    if not given:
        raise ConfigurationError(f"model.num_layers and {named} are both null: give one, the other follows from k")
    if width is not None and width < (2 if num_layers is None else 1):
        raise ConfigurationError(f"{named}={width} must be a whole number >= 2, or >= 1 with model.num_layers=...")
    below = 0
    for size in count(1):
        layers, wide = num_layers or size, width or size
        reached = field(layers, wide)
        if reached == k:
            return layers, wide
        if reached > k or len(given) == 2:
            break
        below = reached
    possible = [each for each in (below, reached) if each]
    nearest = min(possible, key=lambda each: abs(each - k))
    raise ConfigurationError(
        f"truncation.k={k}: with {' and '.join(given)} an output sees {' or '.join(map(str, possible))} inputs: choose "
        f"truncation.k={nearest}" + ("" if len(given) == 2 else f", or another {given[0].partition('=')[0]}")
    )
