"""The orthogonal RNN."""

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState


class OrthogonalCell(Cell):
    """h' = modReLU(W h + U x), W orthogonal at the start, with modReLU(a) = sign(a) relu(|a| + b), unit by unit.

    The real form of the unitary RNN (Arjovsky, Shah & Bengio 2016; Helfrich, Willmott & Ye 2018). An orthogonal W
    changes no length, so a state neither grows nor fades but by modReLU, which is 1-Lipschitz for b <= 0 and jumps at
    0 for b > 0. W is uniform among the orthogonal matrices, U is drawn as in ``nn.init.kaiming_normal_``, and b
    uniformly from [-0.01, 0.01]. Nothing but a constraint keeps W orthogonal.
    """

    GATES = ("",)
    state_type = RNNState

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d = self.hidden_size
        return {"weight_ih": (d, self.input_size), "weight_hh": (d, d), "threshold": (d,)}

    threshold: nn.Parameter  # b

    def initialise(self) -> None:
        nn.init.kaiming_normal_(self.weight_ih)
        nn.init.orthogonal_(self.weight_hh)
        nn.init.uniform_(self.threshold, -0.01, 0.01)

    def input_biases(self) -> tuple[Tensor, Tensor]:
        nothing = torch.zeros_like(self.threshold)
        return nothing, nothing

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        total = projected + state.h @ self.weight_hh.T
        return RNNState(total.sign() * torch.relu(total.abs() + self.threshold))
