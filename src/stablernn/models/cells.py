"""Recurrent cells: one step of the state transition φ, h_t = φ(h_{t-1}, x_t).

Axes: T time, B batch, E input size, D hidden size, G rows of the stacked gate matrices; "..." any leading axes.
Parameters have the names, shapes and gate order of ``torch.nn.RNNCell`` and ``torch.nn.LSTMCell``.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stablernn.models.layered import LongShortTerm, Tanh, layered
from stablernn.models.recurrence import tanh_recurrence

# cuDNN copies the weights into one piece of memory at every call, some hundredths of a millisecond, and says so. A copy
# that is part of the call is one that a CUDA graph makes anew from the weights as they are.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


class RNNState(NamedTuple):
    """h: (..., D)."""

    h: Tensor


class LSTMState(NamedTuple):
    """h and c: (..., D)."""

    h: Tensor
    c: Tensor


State = RNNState | LSTMState


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """The state with ``function`` applied to each of its tensors."""
    return type(state)(*map(function, state))


class Cell(nn.Module, ABC):
    """One step of φ.

    The input product U x + b does not depend on the state, so it is a method of its own: whoever steps
    through many positions, or through many layers over the same positions, computes it once.
    """

    def __init__(self, input_size: int, hidden_size: int, gates: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(gates * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(gates * hidden_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_size), 1 / math.sqrt(hidden_size))

    @abstractmethod
    def zeros(self, *axes: int) -> State:
        """The initial state h_0 = 0, tensors of shape (*axes, D)."""

    @abstractmethod
    def step(self, projected: Tensor, state) -> State:
        """φ(state, x), given ``projected = project_inputs(x)`` (..., G) and a state of (..., D)."""

    @abstractmethod
    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        """The hidden-to-hidden matrices (D, D) by name, as views that can be written to."""

    def project_inputs(self, x: Tensor) -> Tensor:
        """U x + b: (..., E) -> (..., G)."""
        return nn.functional.linear(x, self.weight_ih, self.bias_ih + self.bias_hh)

    def forward(self, x: Tensor, state):
        """φ(state, x) for x (..., E)."""
        return self.step(self.project_inputs(x), state)

    def sequence(self, x: Tensor, state):
        """All T steps: x (T, B, E), state of (B, D) -> h at every step (T, B, D), final state.

        This plain loop defines the result; a cell that has a fused kernel overrides it.
        """
        outputs = []
        for projected in self.project_inputs(x).unbind(0):
            state = self.step(projected, state)
            outputs.append(state.h)
        return torch.stack(outputs), state

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        """h^(k) at the last T = ``outputs`` positions of ``projected`` (S, B, G), see ``models.layered``: (T, B, D).

        As with ``sequence``, this plain loop defines the result; ``recompute`` is for those that can.
        """
        k = min(k, len(projected))
        state = self.zeros(0, projected.shape[1])
        for layer in range(1, k + 1):
            end = len(projected) - (k - layer)
            inputs = projected[max(0, end - outputs) : end]
            starting = self.zeros(len(inputs) - len(state.h), projected.shape[1])
            before = type(state)(*(torch.cat(parts) for parts in zip(starting, state, strict=True)))
            state = self.step(inputs, before)
        return state.h


class RNNCell(Cell):
    """h' = tanh(W h + U x + b), λ-contractive with λ = ‖W‖_2, as tanh is 1-Lipschitz."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=1)

    def zeros(self, *axes: int) -> RNNState:
        return RNNState(self.weight_hh.new_zeros(*axes, self.hidden_size))

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        return RNNState(torch.tanh(projected + state.h @ self.weight_hh.T))

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {"W": self.weight_hh}

    def sequence(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        y = tanh_recurrence(self.project_inputs(x), state.h, self.weight_hh)
        return y, RNNState(y[-1])

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        return layered(projected, self.weight_hh, k, outputs, Tanh(), recompute)


class LSTMCell(Cell):
    """The LSTM without peepholes::

        i, f, o = σ(W_• h + U_• x + b_•),   z = tanh(W_z h + U_z x + b_z)
        c' = f ⊙ c + i ⊙ z,                 h' = o ⊙ tanh(c')

    The rows of the parameters are stacked in the order i, f, z, o.
    """

    GATES = ("i", "f", "z", "o")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, gates=4)

    def zeros(self, *axes: int) -> LSTMState:
        zeros = self.weight_hh.new_zeros(*axes, self.hidden_size)
        return LSTMState(zeros, zeros)

    def step(self, projected: Tensor, state: LSTMState) -> LSTMState:
        i, f, z, o = (projected + state.h @ self.weight_hh.T).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state.c + torch.sigmoid(i) * torch.tanh(z)
        return LSTMState(torch.sigmoid(o) * torch.tanh(c), c)

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {f"W_{gate}": block for gate, block in zip(self.GATES, self.weight_hh.chunk(4), strict=True)}

    def input_blocks(self) -> Mapping[str, Tensor]:
        """The input-to-hidden matrices (D, E) by name, as views that can be written to."""
        return {f"U_{gate}": block for gate, block in zip(self.GATES, self.weight_ih.chunk(4), strict=True)}

    def sequence(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        initial = [part[None].contiguous() for part in state]
        y, h, c = torch.lstm(x, initial, weights, True, 1, 0.0, self.training, False, False)
        return y, LSTMState(h[0], c[0])

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        return layered(projected, self.weight_hh, k, outputs, LongShortTerm(), recompute)
