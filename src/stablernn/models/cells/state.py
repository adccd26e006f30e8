"""The states of cells."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class RNNState(NamedTuple):
    """h: (..., D)."""

    h: Tensor


class LSTMState(NamedTuple):
    """h and c: (..., D)."""

    h: Tensor
    c: Tensor


State = RNNState | LSTMState


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """The state with ``function`` applied to each of its tensors."""
    return type(state)(*map(function, state))
