"""The quasi-recurrent network."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stablernn.models.cells.elementwise import ElementwiseCell
from stablernn.models.kernels.scan import scan
from stablernn.utils.errors import ConfigurationError


class QRNNState(NamedTuple):
    """h and c: (..., D). seen: the last inputs, the latest first, (..., (width - 1) E)."""

    h: Tensor
    c: Tensor
    seen: Tensor


class QRNNCell(ElementwiseCell):
    """The quasi-recurrent network with fo-pooling (Bradbury et al. 2016, arXiv 1611.01576)::

        z = tanh(Σ_i U_z^i x_{t-i} + b_z),   f, o = σ(Σ_i U_•^i x_{t-i} + b_•),   i = 0 .. width - 1
        c' = f ⊙ c + (1 - f) ⊙ z,            h' = o ⊙ c'

    A causal convolution of the inputs, and a recurrence without weights, so that a sequence is one scan. Inputs before
    the first one are zero. The rows are stacked in the order z, f, o. U and b are uniform within ±1 / √(width E), as in
    the authors' library.

    Args:
        input_size, hidden_size: E, D.
        width: inputs that the convolution sees.

    Raises:
        ConfigurationError: width is below 1.
    """

    GATES = ("z", "f", "o")
    state_type = QRNNState
    bounded = True

    def __init__(self, input_size: int, hidden_size: int, width: int = 2) -> None:
        if width < 1:
            raise ConfigurationError(f"model.cell.width={width} must be a whole number >= 1")
        self.width = width
        super().__init__(input_size, hidden_size)

    weight_sh: nn.Parameter  # U^1, U^2, ...: (3D, (width - 1) E)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return super().shapes() | {"weight_sh": (3 * self.hidden_size, (self.width - 1) * self.input_size)}

    def initialise(self) -> None:
        limit = 1 / math.sqrt(self.width * self.input_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -limit, limit)

    def zeros(self, *axes: int) -> QRNNState:
        h = self.weight_ih.new_zeros(*axes, self.hidden_size)
        return QRNNState(h, h, self.weight_ih.new_zeros(*axes, (self.width - 1) * self.input_size))

    def earlier_blocks(self) -> tuple[Tensor, ...]:
        """U^1, U^2, ... (3D, E) of the inputs before the latest, as views that can be written to."""
        return self.weight_sh.split(self.input_size, dim=1)[: self.width - 1]

    def project_inputs(self, x: Tensor) -> Tensor:
        """U^0 x + b, and behind it x, which the state takes on: (..., E) -> (..., 3D + E)."""
        return torch.cat([super().project_inputs(x), x], dim=-1)

    def step(self, projected: Tensor, state: QRNNState) -> QRNNState:
        gates, x = projected.split([3 * self.hidden_size, self.input_size], dim=-1)
        z, f, o = (gates + state.seen @ self.weight_sh.T).chunk(3, dim=-1)
        c = torch.lerp(torch.tanh(z), state.c, torch.sigmoid(f))
        axes = c.shape[:-1]  # a state may stand for many streams, or an input for many states
        seen = torch.cat([part.expand(*axes, part.shape[-1]) for part in (x, state.seen)], dim=-1)
        seen = seen[..., : state.seen.shape[-1]]
        return QRNNState(torch.sigmoid(o) * c, c, seen)

    def sequence(self, x: Tensor, state: QRNNState) -> tuple[Tensor, QRNNState]:
        lags = self.width - 1
        before = state.seen.unflatten(-1, (lags, self.input_size)).movedim(-2, 0).flip(0)
        inputs = torch.cat([before, x])
        gates = super().project_inputs(x)
        for lag, weight in enumerate(self.earlier_blocks(), 1):
            gates = gates + inputs[lags - lag : len(inputs) - lag] @ weight.T
        z, f, o = gates.chunk(3, dim=-1)
        c = scan(torch.sigmoid(f), torch.sigmoid(-f) * torch.tanh(z), state.c)
        h = torch.sigmoid(o) * c
        seen = inputs[len(inputs) - lags :].flip(0).movedim(0, -2).flatten(-2)
        return h, QRNNState(h[-1], c[-1], seen)
