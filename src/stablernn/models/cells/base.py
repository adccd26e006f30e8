"""Recurrent cells: one step of the state transition φ, h_t = φ(h_{t-1}, x_t).

Axes: T time, B batch, E input size, D hidden size, G rows of the stacked gate matrices; "..." any leading axes.
Parameters have the names, shapes and gate order of ``torch.nn.RNNCell`` and ``torch.nn.LSTMCell``.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stablernn.models.cells.state import State

# cuDNN copies the weights into one piece of memory at every call, some hundredths of a millisecond, and says so. A copy
# that is part of the call is one that a CUDA graph makes anew from the weights as they are.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


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
        """h^(k) at the last T = ``outputs`` positions: ``projected`` (S, B, G) -> (T, B, D).

        See ``models.kernels.truncated``.

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
