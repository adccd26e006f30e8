"""States of backbones: a tensor or a nest of tuples of tensors, carried on by whoever need not know what it means."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


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


def select_streams(state: Any, numbers: Tensor) -> Any:
    """The state of the streams ``numbers``, each as often as it is named."""
    return rebuild(state, (tensor.index_select(-2, numbers) for tensor in tensors(state)))


def detach(state: Any) -> Any:
    """The state as a constant: no gradient flows back into the window that it came from."""
    return rebuild(state, (tensor.detach() for tensor in tensors(state)))
