"""The simple recurrent unit."""

import math

import torch
from torch import Tensor, nn

from stablernn.models.cells.elementwise import ElementwiseCell
from stablernn.models.cells.state import LSTMState, State
from stablernn.models.kernels.elementwise import recurrence
from stablernn.models.kernels.scan import linear_scan, scan


def _memory(projected: Tensor, c: Tensor, v: Tensor) -> Tensor:
    """c' = f ⊙ c + (1 - f) ⊙ z, of the rows of f and z."""
    f, z = projected.chunk(2, dim=-1)
    return torch.lerp(z, c, torch.sigmoid(torch.addcmul(f, v, c)))


class SRUCell(ElementwiseCell):
    """The light form of the simple recurrent unit (Lei et al. 2018, arXiv 1709.02755)::

        f = σ(U_f x + v_f ⊙ c + b_f),    c' = f ⊙ c + (1 - f) ⊙ U_z x
        r = σ(U_r x + v_r ⊙ c + b_r),    h' = r ⊙ c' + (1 - r) ⊙ α x

    c is the memory, h' what is read from it and from the input past it (the highway). α = √(1 + 2 e^b) with b the
    initial b_r keeps the variance of the highway; where E is not D, α x is a trained product U_x x. The rows are
    stacked in the order f, r, z. Without v a whole sequence is one scan.

    Initially, as in the authors' library: U uniform with variance 1 / E, that of the gates half of it and U_x times α,
    v uniform with variance 1/2, b_f = 0.

    Args:
        input_size, hidden_size: E, D.
        peephole: whether the gates see c; False: v = 0.
        highway_bias: initial b_r.
    """

    GATES = ("f", "r", "z")
    state_type = LSTMState

    def __init__(self, input_size: int, hidden_size: int, peephole: bool = True, highway_bias: float = 0.0) -> None:
        self.peephole = peephole
        self.highway_bias = highway_bias
        self.scale = math.sqrt(1 + 2 * math.exp(highway_bias))
        super().__init__(input_size, hidden_size)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        e, d = self.input_size, self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (3 * d, e), "bias_ih": (2 * d,)}
        if self.peephole:
            shapes["weight_ch"] = (2 * d,)
        if e != d:
            shapes["weight_xh"] = (d, e)
        return shapes

    @torch.no_grad()
    def initialise(self) -> None:
        e, d = self.input_size, self.hidden_size
        nn.init.uniform_(self.weight_ih, -math.sqrt(3 / e), math.sqrt(3 / e))
        self.weight_ih[: 2 * d] *= math.sqrt(0.5)
        nn.init.zeros_(self.bias_ih)
        self.bias_ih[d:] = self.highway_bias
        if self.peephole:
            nn.init.uniform_(self.weight_ch, -math.sqrt(1.5), math.sqrt(1.5))
        if e != d:
            nn.init.uniform_(self.weight_xh, -self.scale * math.sqrt(3 / e), self.scale * math.sqrt(3 / e))

    weight_ch: nn.Parameter  # v of f, r
    weight_xh: nn.Parameter  # U_x

    def input_biases(self) -> tuple[Tensor, Tensor]:
        b = torch.cat([self.bias_ih, self.bias_ih.new_zeros(self.hidden_size)])
        return b, torch.zeros_like(b)

    def highway(self) -> Tensor:
        """U_x (D, E), or α times the identity."""
        if self.input_size != self.hidden_size:
            return self.weight_xh
        return self.scale * torch.eye(self.hidden_size, dtype=self.weight_ih.dtype, device=self.weight_ih.device)

    def peepholes(self) -> tuple[Tensor, Tensor]:
        """v_f and v_r (D,)."""
        v = self.weight_ch if self.peephole else torch.zeros_like(self.bias_ih)
        first, second = v.chunk(2)
        return first, second

    def project_inputs(self, x: Tensor) -> Tensor:
        """The rows of f, r, z, and behind them the highway: (..., E) -> (..., 4D)."""
        past = self.scale * x if self.input_size == self.hidden_size else x @ self.weight_xh.T
        return torch.cat([super().project_inputs(x), past], dim=-1)

    def step(self, projected: Tensor, state: LSTMState) -> LSTMState:
        f, r, z, past = projected.chunk(4, dim=-1)
        v_f, v_r = self.peepholes()
        c = _memory(torch.cat([f, z], dim=-1), state.c, v_f)
        return LSTMState(torch.lerp(past, c, torch.sigmoid(r + v_r * state.c)), c)

    def sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, State]:
        """Only c is computed step by step, and without v by one scan; h follows from all c at once."""
        f, r, z, past = self.project_inputs(x).chunk(4, dim=-1)
        if self.peephole:
            v_f, v_r = self.peepholes()
            c = recurrence(_memory, torch.cat([f, z], dim=-1), state.c, v_f)
            r = torch.addcmul(r, v_r, torch.cat([state.c[None], c[:-1]]))
        else:
            c = scan(torch.sigmoid(f), torch.sigmoid(-f) * z, state.c)
        h = torch.lerp(past, c, torch.sigmoid(r))
        return h, LSTMState(h[-1], c[-1])

    def newton(self, projected: Tensor, before: LSTMState, initial: LSTMState) -> tuple[LSTMState, LSTMState]:
        """Gates at the old c; then c' = f ⊙ c + (1 - f) ⊙ z is linear in c and solved exactly."""
        f, r, z, past = projected.chunk(4, dim=-1)
        v_f, v_r = self.peepholes()
        f, r = f + v_f * before.c, torch.sigmoid(r + v_r * before.c)
        keep, write = torch.sigmoid(f), torch.sigmoid(-f) * z
        c, solved = keep * before.c + write, linear_scan(keep, write, initial.c)
        return LSTMState(torch.lerp(past, c, r), c), LSTMState(torch.lerp(past, solved, r), solved)
