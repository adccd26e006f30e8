"""The unitary RNN."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.utils.errors import ConfigurationError


class UnitaryCell(Cell):
    """h' = modReLU(W h + V x) with D / 2 complex units and a W that is unitary whatever its parameters::

        W = D_3 R_2 F⁻¹ D_2 Π R_1 F D_1,    modReLU(z) = relu(|z| + b) z / |z|

    Arjovsky, Shah & Bengio (2016, arXiv 1511.06464). D_i are diagonals of e^(iθ), R_i = I - 2 v v* / ‖v‖² reflections,
    F the Fourier transform and Π a permutation that is drawn once. h holds the real parts and then the imaginary ones,
    as the paper's output layer reads them. All are drawn uniformly, as in the authors' code
    (github.com/amarshah/complex_RNN): θ within ±√(6 / (3 + D / 2)), both parts of v within ±√(6 / (2 + D)), both of V
    within ±√(6 / (E + D / 2)), as Glorot and Bengio have it, and b within ±0.01. (In the text of the paper θ is within
    ±π and v within ±1.) The paper learns h_0; here it is zero, as every truncated model starts there.

    Args:
        input_size, hidden_size: E, D; D is even.

    Raises:
        ConfigurationError: D is odd.
    """

    GATES = ("",)
    state_type = RNNState

    phases: nn.Parameter  # θ_1, θ_2, θ_3
    reflections: nn.Parameter  # real and imaginary parts of v_1 and v_2
    threshold: nn.Parameter  # b
    order: Tensor  # Π

    def __init__(self, input_size: int, hidden_size: int) -> None:
        if hidden_size % 2:
            raise ConfigurationError(
                f"model.hidden_size={hidden_size} must be even: a unitary RNN has half as many complex units"
            )
        super().__init__(input_size, hidden_size)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d = self.hidden_size
        units = d // 2
        return {
            "weight_ih": (d, self.input_size),
            "phases": (3, units),
            "reflections": (2, 2, units),
            "threshold": (units,),
        }

    @torch.no_grad()
    def initialise(self) -> None:
        for part in self.weight_ih.chunk(2):
            nn.init.xavier_uniform_(part)
        nn.init.xavier_uniform_(self.phases)
        nn.init.xavier_uniform_(self.reflections.flatten(1))
        nn.init.uniform_(self.threshold, -0.01, 0.01)
        self.register_buffer("order", torch.randperm(self.hidden_size // 2))

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        """None: no parameter is a recurrent matrix."""
        return {}

    def input_biases(self) -> tuple[Tensor, Tensor]:
        nothing = self.weight_ih.new_zeros(self.hidden_size)
        return nothing, nothing

    def rotate(self, z: Tensor) -> Tensor:
        """W z for complex z (..., D / 2)."""
        first, second, third = torch.polar(torch.ones_like(self.phases), self.phases)
        z = _reflected(torch.fft.fft(first * z, norm="ortho"), torch.complex(*self.reflections[0]))
        z = torch.fft.ifft(second * z[..., self.order], norm="ortho")
        return third * _reflected(z, torch.complex(*self.reflections[1]))

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        z = self.rotate(_complex(state.h)) + _complex(projected)
        z = torch.sgn(z) * torch.relu(z.abs() + self.threshold)
        return RNNState(torch.cat([z.real, z.imag], dim=-1))


def _complex(pairs: Tensor) -> Tensor:
    return torch.complex(*pairs.chunk(2, dim=-1))


def _reflected(z: Tensor, across: Tensor) -> Tensor:
    """z - 2 v (v* z) / ‖v‖² for v (D / 2,)."""
    product = (z @ across.conj())[..., None]
    return z - across * (product * 2 / across.abs().square().sum())
