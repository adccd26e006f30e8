"""The Fourier recurrent unit."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.utils.errors import ConfigurationError

_DEVIATION = 0.1


class FRUState(NamedTuple):
    """h (..., D), u (..., F S), and t (..., 1), the inputs so far, counted modulo T."""

    h: Tensor
    u: Tensor
    t: Tensor


class FRUCell(Cell):
    """The Fourier recurrent unit (Zhang, Lin, Song & Dhillon 2018, arXiv 1803.06585), with F frequencies f::

        g = relu(W_g u + b_g)                       (R,)
        s = relu(W g + U x + b)                     (S,)
        t' = t + 1
        u'_f = u_f + cos(2π f t' / T + θ_f) s / T   (S,) for each f
        h' = relu(W_h u' + b_h)                     (D,)

    u is a sparse Fourier transform of all s since the start, none of which fades. θ is trained, f is not. As in the
    authors' code matrices and θ / 2π are normal with deviation 0.1, cut off at 0.2, biases are 0, and t is counted
    modulo T. There a frequency 0 among others adds nothing up; here, as in the paper, it does.

    The step depends on the time: as of the clockwork network, the truncation of this cell can be measured along a
    sequence, and is no network of its own.

    Args:
        input_size, hidden_size: E, D.
        length: T.
        frequencies: f, in periods over T steps.
        statistics: S.
        summary: R.

    Raises:
        ConfigurationError: a size below 1, no frequency, or a negative one.
    """

    GATES = ("",)
    state_type = FRUState
    timed = True
    frequencies: Tensor
    phases: nn.Parameter  # θ
    weight_g: nn.Parameter
    bias_g: nn.Parameter
    weight_h: nn.Parameter
    bias_h: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        length: int = 100,
        frequencies: Iterable[float] = (0, 1, 2, 4, 8, 16, 32),
        statistics: int = 16,
        summary: int = 32,
    ) -> None:
        for option, value in (("length", length), ("statistics", statistics), ("summary", summary)):
            if value < 1:
                raise ConfigurationError(f"model.cell.{option}={value} must be a whole number >= 1")
        given = list(frequencies)
        if not given or min(given) < 0:
            raise ConfigurationError(f"model.cell.frequencies={given} must be numbers >= 0, at least one")
        self.length, self.statistics, self.summary, self.count = length, statistics, summary, len(given)
        super().__init__(input_size, hidden_size)
        self.register_buffer("frequencies", torch.tensor(given, dtype=torch.get_default_dtype()), persistent=False)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        s, r, d, sums = self.statistics, self.summary, self.hidden_size, self.count * self.statistics
        return {
            "weight_ih": (s, self.input_size),
            "weight_hh": (s, r),
            "bias_ih": (s,),
            "weight_g": (r, sums),
            "bias_g": (r,),
            "weight_h": (d, sums),
            "bias_h": (d,),
            "phases": (self.count,),
        }

    @torch.no_grad()
    def initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=_DEVIATION, a=-2 * _DEVIATION, b=2 * _DEVIATION)
        self.phases.mul_(2 * math.pi)

    def zeros(self, *axes: int) -> FRUState:
        new = self.weight_ih.new_zeros
        return FRUState(new(*axes, self.hidden_size), new(*axes, self.count * self.statistics), new(*axes, 1))

    def starts(self, time: int, positions: int, batch: int) -> FRUState:
        zeros = self.zeros(positions, batch)
        times = torch.arange(time, time + positions, device=zeros.h.device) % self.length
        return zeros._replace(t=times.to(zeros.t)[:, None, None].expand(positions, batch, 1))

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {"W_g": self.weight_g}

    def input_biases(self) -> tuple[Tensor, Tensor]:
        return self.bias_ih, torch.zeros_like(self.bias_ih)

    def step(self, projected: Tensor, state: FRUState) -> FRUState:
        linear = nn.functional.linear
        g = torch.relu(linear(state.u, self.weight_g, self.bias_g))
        s = torch.relu(projected + linear(g, self.weight_hh))
        t = (state.t.detach() + 1).remainder(self.length)
        basis = torch.cos(2 * math.pi / self.length * self.frequencies * t + self.phases) / self.length
        u = state.u + (basis[..., None] * s[..., None, :]).flatten(-2)
        return FRUState(torch.relu(linear(u, self.weight_h, self.bias_h)), u, t.expand(*u.shape[:-1], 1))
