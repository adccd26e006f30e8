"""Cells that read their own outputs of some steps ago: direct connections over long delays."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.utils.errors import ConfigurationError


class DelayedState(NamedTuple):
    """h (..., D), and the outputs before it, the latest first, side by side in past (..., (n - 1) D)."""

    h: Tensor
    past: Tensor


def checked_delays(delays: Iterable[int]) -> tuple[int, ...]:
    """Delays in ascending order; raises ConfigurationError unless they are distinct whole numbers >= 1."""
    result = tuple(sorted(delays))
    if not result or result[0] < 1 or len(set(result)) < len(result):
        raise ConfigurationError(f"model.cell.delays={list(result)} must be distinct whole numbers >= 1")
    return result


class DelayedCell(Cell):
    """h_t = f(x_t, h_{t-d} for each delay d). The state is the last n outputs, with n the longest delay.

    Attributes:
        delays: in ascending order.
    """

    state_type = DelayedState
    bounded = True
    delays: tuple[int, ...]

    @abstractmethod
    def combine(self, projected: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        """h_t (..., D) from the input product (..., G) and h_{t-d} (..., D) for each delay."""

    def zeros(self, *axes: int) -> DelayedState:
        d = self.hidden_size
        return DelayedState(*self.weight_ih.new_zeros(*axes, self.delays[-1] * d).tensor_split([d], -1))

    def step(self, projected: Tensor, state: DelayedState) -> DelayedState:
        d = self.hidden_size
        before = torch.cat(state, dim=-1)
        h = self.combine(projected, [before[..., (delay - 1) * d : delay * d] for delay in self.delays])
        return DelayedState(h, before[..., : (self.delays[-1] - 1) * d].expand(*h.shape[:-1], -1))

    def sequence(self, x: Tensor, state: DelayedState) -> tuple[Tensor, DelayedState]:
        """The steps without a copy of the past at each of them."""
        outputs = self.oldest_first(state)
        for projected in self.project_inputs(x).unbind(0):
            outputs.append(self.combine(projected, [outputs[-delay] for delay in self.delays]))
        return torch.stack(outputs[self.delays[-1] :]), self.newest(outputs)

    def oldest_first(self, state: DelayedState) -> list[Tensor]:
        """The last n outputs (..., D)."""
        return list(torch.cat(state, dim=-1).split(self.hidden_size, dim=-1))[::-1]

    def newest(self, outputs: list[Tensor]) -> DelayedState:
        """The state after the last of at least n outputs."""
        last = torch.cat(outputs[: -self.delays[-1] - 1 : -1], dim=-1)
        return DelayedState(*last.tensor_split([self.hidden_size], -1))
