"""The LSTM."""

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import LSTMState
from stablernn.models.kernels.scan import linear_scan
from stablernn.models.kernels.truncated import LongShortTerm


class LSTMCell(Cell):
    """The LSTM without peepholes::

        i, f, o = σ(W_• h + U_• x + b_•),   z = tanh(W_z h + U_z x + b_z)
        c' = f ⊙ c + i ⊙ z,                 h' = o ⊙ tanh(c')

    (Hochreiter & Schmidhuber 1997; the forget gate: Gers, Schmidhuber & Cummins 2000.) The rows of the parameters are
    stacked in the order i, f, z, o: W is ``weight_hh`` (4D, D), U ``weight_ih`` (4D, E), and b (4D,) the sum of
    ``bias_ih`` and ``bias_hh``.
    """

    GATES = ("i", "f", "z", "o")
    state_type = LSTMState
    bounded = True
    activation = LongShortTerm()
    torch_layer = nn.LSTM

    def step(self, projected: Tensor, state: LSTMState) -> LSTMState:
        i, f, z, o = (projected + state.h @ self.weight_hh.T).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(z)
        return LSTMState(torch.sigmoid(o) * torch.tanh(c), c)

    def sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        initial = [part[None].contiguous() for part in state]
        y, h, c = torch.lstm(x, initial, weights, True, 1, 0.0, self.training, False, False)
        return y, LSTMState(h[0], c[0])

    def newton(self, projected: Tensor, before: LSTMState, initial: LSTMState) -> tuple[LSTMState, LSTMState]:
        """Gates at the old h; then c' = f ⊙ c + i ⊙ z is linear in c and solved exactly, and h' = o ⊙ tanh(c').

        This is the Newton step with the exact ∂c'/∂c = f and ∂h'/∂c', and without the derivatives by h, W_• times
        slopes of at most 1/4 (1 for z): the path by which an LSTM remembers long is exact, that through its recurrent
        weights is iterated. Their diagonal would save no iteration worth its price. Every guess of c is a mean that
        gates could make.
        """
        i, f, z, o = (projected + before.h @ self.weight_hh.T).chunk(4, dim=-1)
        f, o, drive = torch.sigmoid(f), torch.sigmoid(o), torch.sigmoid(i) * torch.tanh(z)
        c = f * before.c + drive
        solved = linear_scan(f, drive, initial.c)
        return LSTMState(o * torch.tanh(c), c), LSTMState(o * torch.tanh(solved), solved)
