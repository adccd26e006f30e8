"""Relu-RNNs, made to remember by their initial recurrent matrix."""

import math

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.utils.errors import ConfigurationError

_INPUT_STD = 1e-3


class IRNNCell(Cell):
    """h' = relu(W h + U x + b), λ-contractive with λ = ‖W‖_2, as relu is 1-Lipschitz. Initially, by ``initial``:

    - ``identity``: W = scale I, U normal with deviation 0.001, b = 0 (Le, Jaitly & Hinton 2015, arXiv 1504.00941);
    - ``np``: W = (A + I) / e with A = R Rᵀ / D, R standard normal, and e the largest eigenvalue of A + I, so that W is
      positive definite and its largest eigenvalue 1 (np-RNN: Talathi & Vartak 2015, arXiv 1511.03771); U normal with
      deviation √(2 / D), b = 0. The paper multiplies U by exp(1.2 / (max(D, 6) - 2.4)) too (the random walk
      initialisation of Sussillo & Abbott 2014), which is left out here: at D = 120 it is 1.01.

    Args:
        input_size, hidden_size: E, D.
        initial: ``identity`` or ``np``.
        scale: of the identity.

    Raises:
        ConfigurationError: an ``initial`` that is neither.
    """

    GATES = ("",)
    state_type = RNNState

    def __init__(self, input_size: int, hidden_size: int, initial: str = "identity", scale: float = 1.0) -> None:
        if initial not in ("identity", "np"):
            raise ConfigurationError(f"model.cell.initial={initial} is unknown: choose identity or np")
        self.initial, self.scale = initial, scale
        super().__init__(input_size, hidden_size)

    @torch.no_grad()
    def initialise(self) -> None:
        d = self.hidden_size
        nn.init.zeros_(self.bias_ih)
        nn.init.zeros_(self.bias_hh)
        identity = torch.eye(d)
        if self.initial == "identity":
            nn.init.normal_(self.weight_ih, std=_INPUT_STD)
            self.weight_hh.copy_(self.scale * identity)
            return
        nn.init.normal_(self.weight_ih, std=math.sqrt(2 / d))
        random = torch.randn(d, d)
        raised = random @ random.T / d + identity
        self.weight_hh.copy_(raised / torch.linalg.matrix_norm(raised, 2))

    def matrix(self) -> Tensor:
        """W (D, D)."""
        return self.weight_hh

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        return RNNState(torch.relu(projected + state.h @ self.matrix().T))

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        weights = [self.weight_ih, self.matrix(), self.bias_ih, self.bias_hh]
        y, h = torch.rnn_relu(x, state.h[None].contiguous(), weights, True, 1, 0.0, self.training, False, False)
        return y, RNNState(h[0])
