"""Fixed-point iterations for all states of a sequence at once: from one guess of h_1, ..., h_T to a better one.

The states solve s_t = φ(s_{t-1}, x_t), t = 1 .. T. With s^i a guess of all of them, after i iterations of either kind
the first i states are exact, whatever the cell; what makes an iteration worth its while is that far more of them are
right long before.
"""

from collections.abc import Callable

from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State

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


def newton(cell: Cell, projected: Tensor, before: State, initial: State) -> tuple[State, State]:
    """A Newton step with a Jacobian so simple that a linear scan solves it, by the cell itself.

    s^{i+1}_t = φ(s^i_{t-1}, x_t) + J_t (s^{i+1}_{t-1} - s^i_{t-1}) with J_t the diagonal of the Jacobian (quasi-DEER:
    Gonzalez et al. 2024, section 4.1; with the whole Jacobian DEER: Lim et al. 2024). Of a cell that says nothing of
    its Jacobian J = 0, and this is the Jacobi iteration.
    """
    return cell.newton(projected, before, initial)


ITERATIONS: dict[str, Iteration] = {"jacobi": jacobi, "newton": newton}
