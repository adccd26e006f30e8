"""The independently recurrent network."""

import torch
from torch import Tensor, nn

from stablernn.models.cells.elementwise import ElementwiseCell
from stablernn.models.cells.state import RNNState
from stablernn.models.kernels.elementwise import recurrence
from stablernn.utils.errors import ConfigurationError


def _unit(projected: Tensor, h: Tensor, u: Tensor) -> Tensor:
    return torch.relu(torch.addcmul(projected, u, h))


class IndRNNCell(ElementwiseCell):
    """h' = relu(u ⊙ h + U x + b): every unit depends on its own past alone, with the weight u_j (Li et al. 2018, CVPR).

    Over T steps a gradient is multiplied by u_j^T at most, so |u_j| <= 2^(1/T) keeps it below 2; |u_j| < 1 makes the
    cell contractive. u is drawn uniformly from [low, high]; the paper has [0, 2^(1/T)], and a low end near 1 where the
    last output alone counts. U is drawn as PyTorch draws it, and b = 0, as in the authors' code.

    Args:
        input_size, hidden_size: E, D.
        low, high: range of the initial u.

    Raises:
        ConfigurationError: low lies above high.
    """

    GATES = ("",)
    state_type = RNNState

    def __init__(self, input_size: int, hidden_size: int, low: float = 0.0, high: float = 1.0) -> None:
        if low > high:
            raise ConfigurationError(f"model.cell.low={low} must not exceed model.cell.high={high}")
        self.range = low, high
        super().__init__(input_size, hidden_size)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return super().shapes() | {"weight_hh": (self.hidden_size,)}

    def initialise(self) -> None:
        super().initialise()
        nn.init.zeros_(self.bias_ih)
        nn.init.uniform_(self.weight_hh, *self.range)

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        return RNNState(_unit(projected, state.h, self.weight_hh))

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        h = recurrence(_unit, self.project_inputs(x), state.h, self.weight_hh)
        return h, RNNState(h[-1])
