"""The recurrent backbone: a stack of cells, unrolled through time with its state carried on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State
from stablernn.models.dropout import Dropout

CellFactory = Callable[[int, int], Cell]


class Backbone(nn.Module, ABC):
    """What every backbone keeps to: ``forward(x, state) -> (y, state)``, time first.

    x (T, B, E), y (T, B, D). The state is a tensor or a nest of tuples of tensors; whoever carries it on need
    not know what it means. Two windows one after the other, the state carried, give what the joined one gives.
    """

    def __init__(self, cells: Sequence[Cell], dropout: float = 0.0) -> None:
        super().__init__()
        self.cells: Sequence[Cell] = nn.ModuleList(cells)  # type: ignore[assignment]
        self.dropout = Dropout(dropout)

    @property
    def receptive_field(self) -> int | None:
        """Inputs that an output depends on, its own included; None: all before it."""
        return None

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """The state before the first input of B streams."""


class Recurrent(Backbone):
    """Truncated backpropagation through time: the state is the hidden state of every layer."""

    def initial_state(self, batch: int) -> tuple[State, ...]:
        return tuple(cell.zeros(batch) for cell in self.cells)

    def forward(self, x: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        final = []
        for layer, (cell, before) in enumerate(zip(self.cells, state, strict=True)):
            x, after = cell.sequence(self.dropout(x) if layer else x, before)
            final.append(after)
        return x, tuple(final)


def tensors(state: Any) -> Iterator[Tensor]:
    """The tensors of a state, in order."""
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state:
            yield from tensors(part)


def rebuild(like: Any, values: Iterator[Tensor]) -> Any:
    """A state of the structure of ``like`` whose tensors are ``values`` in order."""
    if isinstance(like, Tensor):
        return next(values)
    parts = [rebuild(part, values) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)


def split_streams(state: Any, parts: int) -> list[Any]:
    """The states of consecutive streams, as ``Tensor.chunk`` would share them out. Every tensor is (..., B, D)."""
    pieces = zip(*(tensor.chunk(parts, dim=-2) for tensor in tensors(state)), strict=True)
    return [rebuild(state, iter(piece)) for piece in pieces]


def join_streams(states: Sequence[Any]) -> Any:
    """Undo ``split_streams``."""
    if len(states) == 1:
        return states[0]
    parts = zip(*(tensors(state) for state in states), strict=True)
    return rebuild(states[0], (torch.cat(part, dim=-2) for part in parts))


def detach(state: Any) -> Any:
    """The state as a constant: no gradient flows back into the window that it came from."""
    return rebuild(state, (tensor.detach() for tensor in tensors(state)))
