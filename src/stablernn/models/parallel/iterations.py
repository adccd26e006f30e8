"""Fixed-point iterations for all states of a sequence at once: from one guess of h_1, ..., h_T to a better one.

The states solve s_t = φ(s_{t-1}, x_t), t = 1 .. T. With s^i a guess of all of them, after i iterations of either kind
the first i states are exact, whatever the cell; what makes an iteration worth its while is that far more of them are
right long before.
"""

from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import LSTMState, RNNState, State
from stablernn.models.kernels.scan import linear_scan

# (cell, projected inputs (T, B, G), the guess one step earlier (T, B, D), the state before (B, D))
# -> φ of the guess (its image), and the next guess
Iteration = Callable[[Cell, Tensor, State, State], tuple[State, State]]


def jacobi(cell: Cell, projected: Tensor, before: State, initial: State) -> tuple[State, State]:
    """s^{i+1}_t = φ(s^i_{t-1}, x_t): the layered identity (Miller & Hardt 2018, section 3).

    From the guess zero the i-th is the i-truncated model, so the error shrinks as the truncation's does: by λ each
    iteration.
    """
    image = cell.step(projected, before)
    return image, image


@singledispatch
def newton(cell: Cell, projected: Tensor, before: State, initial: State) -> tuple[State, State]:
    """A Newton step with a Jacobian so simple that a linear scan solves it, by the kind of cell.

    s^{i+1}_t = φ(s^i_{t-1}, x_t) + J_t (s^{i+1}_{t-1} - s^i_{t-1}) with J_t the diagonal of the Jacobian (quasi-DEER:
    Gonzalez et al. 2024, section 4.1; with the whole Jacobian DEER: Lim et al. 2024). Of a cell that says nothing of
    its Jacobian J = 0, and this is the Jacobi iteration.
    """
    return jacobi(cell, projected, before, initial)


@newton.register
def _(cell: RNNCell, projected: Tensor, before: RNNState, initial: RNNState) -> tuple[State, State]:
    """J_t = (1 - h²) diag(W), kept within [-1, 1] as is h: no guess grows, however wrong.

    What it neglects, W off its diagonal, is nearly all of a W without structure; then it is no faster than Jacobi.
    """
    image = cell.step(projected, before)
    slopes = ((1 - image.h * image.h) * cell.weight_hh.diagonal()).clamp(-1, 1)
    h = linear_scan(slopes, image.h - slopes * before.h, initial.h)
    return image, RNNState(h.clamp(-1, 1))


@newton.register
def _(cell: LSTMCell, projected: Tensor, before: LSTMState, initial: LSTMState) -> tuple[State, State]:
    """Gates at the old h; then c' = f ⊙ c + i ⊙ z is linear in c and solved exactly, and h' = o ⊙ tanh(c').

    This is the Newton step with the exact ∂c'/∂c = f and ∂h'/∂c', and without the derivatives by h, W_• times slopes
    of at most 1/4 (1 for z): the path by which an LSTM remembers long is exact, that through its recurrent weights is
    iterated. Their diagonal would save no iteration worth its price. Every guess of c is a mean that gates could make.
    """
    i, f, z, o = (projected + before.h @ cell.weight_hh.T).chunk(4, dim=-1)
    f, o, drive = torch.sigmoid(f), torch.sigmoid(o), torch.sigmoid(i) * torch.tanh(z)
    c = f * before.c + drive
    solved = linear_scan(f, drive, initial.c)
    return LSTMState(o * torch.tanh(c), c), LSTMState(o * torch.tanh(solved), solved)


ITERATIONS: dict[str, Iteration] = {"jacobi": jacobi, "newton": newton}
