"""The clockwork network."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.utils.errors import ConfigurationError

_STD = 0.1


class ClockworkState(NamedTuple):
    """h: (..., D). clock: the time, inputs since the start of the sequence modulo all periods, (..., 1)."""

    h: Tensor
    clock: Tensor


class ClockworkCell(Cell):
    """The clockwork network (Koutník, Greff, Gomez & Schmidhuber 2014, arXiv 1402.3511)::

        h'_i = tanh(Σ_{j >= i} W_ij h_j + U_i x + b_i)  where T_i divides t,    h'_i = h_i elsewhere

    Module i has the period T_i, and reads itself and the slower modules. The first input comes at t = 0, when every
    module is updated. All weights are normal with deviation 0.1, as in the paper. Units that do not divide evenly go
    to the fastest modules.

    The step depends on the time: a k-truncated model starts from h = 0 with the true time of its first input, which k
    inputs do not tell. So the truncation of this cell can be measured along a sequence, and is no network of its own.

    Args:
        input_size, hidden_size: E, D.
        periods: T_1 < T_2 < ...

    Raises:
        ConfigurationError: periods that do not rise from 1 or more, or are more than the units.
    """

    GATES = ("",)
    state_type = ClockworkState
    bounded = True
    timed = True

    def __init__(
        self, input_size: int, hidden_size: int, periods: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128)
    ) -> None:
        self.periods = tuple(int(period) for period in periods)
        rising = list(self.periods) == sorted(set(self.periods)) and list(self.periods) == list(periods)
        if not self.periods or self.periods[0] < 1 or not rising:
            raise ConfigurationError(
                f"model.cell.periods={list(periods)} must be whole numbers that rise from 1 or more"
            )
        if len(self.periods) > hidden_size:
            raise ConfigurationError(
                f"model.cell.periods={list(periods)} are more than the units: model.hidden_size={hidden_size}"
            )
        super().__init__(input_size, hidden_size)
        modules = zip(self.periods, self.module_sizes(), strict=True)
        unit = torch.tensor([period for period, size in modules for _ in range(size)])
        self.register_buffer("period", unit, persistent=False)
        self.register_buffer("connected", unit[:, None] <= unit, persistent=False)

    period: Tensor  # of each unit (D,)
    connected: Tensor  # whether a unit reads another one, (D, D)

    def module_sizes(self) -> list[int]:
        """Units of each module."""
        each, over = divmod(self.hidden_size, len(self.periods))
        return [each + (number < over) for number in range(len(self.periods))]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d = self.hidden_size
        return {"weight_ih": (d, self.input_size), "weight_hh": (d, d), "bias_ih": (d,)}

    def initialise(self) -> None:
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=_STD)

    def input_biases(self) -> tuple[Tensor, Tensor]:
        return self.bias_ih, torch.zeros_like(self.bias_ih)

    def zeros(self, *axes: int) -> ClockworkState:
        return ClockworkState(self.weight_ih.new_zeros(*axes, self.hidden_size), self.weight_ih.new_zeros(*axes, 1))

    def starts(self, time: int, positions: int, batch: int) -> ClockworkState:
        zeros = self.zeros(positions, batch)
        times = torch.arange(time, time + positions, device=zeros.h.device) % math.lcm(*self.periods)
        return zeros._replace(clock=times.to(zeros.clock)[:, None, None].expand(positions, batch, 1))

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        """W_ii of each module, by its period."""
        sizes = self.module_sizes()
        blocks = zip(self.weight_hh.split(sizes), self.periods, strict=True)
        return {f"W_{period}": rows.split(sizes, dim=1)[number] for number, (rows, period) in enumerate(blocks)}

    def step(self, projected: Tensor, state: ClockworkState) -> ClockworkState:
        updated = torch.tanh(projected + state.h @ (self.weight_hh * self.connected).T)
        h = torch.where(state.clock % self.period == 0, updated, state.h)
        return ClockworkState(h, (state.clock.detach() + 1) % math.lcm(*self.periods))
