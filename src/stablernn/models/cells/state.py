"""The states of cells: named tuples whose first field is h. A cell of another kind of state has it in its own file."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor


class State(Protocol):
    """What every state is: tensors (..., D), h first."""

    _fields: tuple[str, ...]

    def __init__(self, *parts: Tensor) -> None: ...

    @property
    def h(self) -> Tensor: ...

    def __iter__(self) -> Iterator[Tensor]: ...


class RNNState(NamedTuple):
    """h: (..., D)."""

    h: Tensor


class LSTMState(NamedTuple):
    """h and c: (..., D)."""

    h: Tensor
    c: Tensor


S = TypeVar("S", bound=State)


def map_state(function: Callable[[Tensor], Tensor], state: S) -> S:
    """The state with ``function`` applied to each of its tensors."""
    return type(state)(*map(function, state))
