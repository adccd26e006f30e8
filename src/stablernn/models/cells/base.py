"""Recurrent cells: one step of the state transition φ, h_t = φ(h_{t-1}, x_t).

Axes: T time, B batch, E input size, D hidden size, G rows of the stacked gate matrices; "..." any leading axes.
Parameters have the names, shapes and gate order of ``torch.nn.RNNCell``, ``LSTMCell`` and ``GRUCell``.

A cell is one class in one file: it declares its gates and its state and writes ``step``; the rest has a default that
follows from those. What else it declares makes it fast or comparable, and nothing outside asks which cell it is.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from stablernn.models.cells.state import State
from stablernn.models.kernels.truncated import Activation, layered

# cuDNN copies the weights into one piece of memory at every call, some hundredths of a millisecond, and says so. A copy
# that is part of the call is one that a CUDA graph makes anew from the weights as they are.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


class Cell(nn.Module, ABC):
    """One step of φ.

    The input product U x + b does not depend on the state, so it is a method of its own: whoever steps
    through many positions, or through many layers over the same positions, computes it once.

    Attributes:
        GATES: names of the blocks of rows, in their order; of a cell with one block it may be empty.
        state_type: a named tuple of (..., D) tensors whose first is h, the output; a cell whose other parts have other
            sizes says so in ``zeros``.
        bounded: whether |h_j| <= 1 in every state that is reached from zero, whatever the weights and the inputs.
        timed: whether the step depends on the time since the start of the sequence, a part of the state, as well.
        activation: the elementwise part of ``step``, with its gradient, for ``truncated``; None: autograd's.
        torch_layer: the layer of PyTorch that computes the same from the same parameters; None: there is none.
    """

    GATES: ClassVar[tuple[str, ...]]
    state_type: ClassVar[type[State]]
    bounded: ClassVar[bool] = False
    timed: ClassVar[bool] = False
    activation: ClassVar[Activation | None] = None
    torch_layer: ClassVar[Callable[..., nn.RNNBase] | None] = None

    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    bias_ih: nn.Parameter
    bias_hh: nn.Parameter

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        for name, shape in self.shapes().items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.initialise()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by name, in the order in which they are drawn."""
        rows = len(self.GATES) * self.hidden_size
        return {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }

    def initialise(self) -> None:
        """Draw the parameters, as PyTorch does."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(self.hidden_size), 1 / math.sqrt(self.hidden_size))

    @abstractmethod
    def step(self, projected: Tensor, state) -> State:
        """φ(state, x), given ``projected = project_inputs(x)`` (..., G) and a state of (..., D).

        One position of a state may stand for all; every part of the result has the axes of ``projected``.
        """

    def zeros(self, *axes: int) -> State:
        """The initial state h_0 = 0, tensors of shape (*axes, D)."""
        zeros = self.weight_ih.new_zeros(*axes, self.hidden_size)
        return self.state_type(*(zeros for _ in self.state_type._fields))

    def place(self, layer: int) -> None:
        """Learn which layer of a stack this is, from 0, before anything is computed; most cells need not know."""

    def starts(self, time: int, positions: int, batch: int) -> State:
        """h = 0 before each of ``positions`` inputs in a row, the first of which comes at ``time``: of (N, B, D)."""
        return self.zeros(positions, batch)

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        """The hidden-to-hidden matrices (D, D) by name, as views that can be written to; some cells have none."""
        return self._blocks("W", self.weight_hh)

    def input_blocks(self) -> Mapping[str, Tensor]:
        """The input-to-hidden matrices (D, E) by name, as views that can be written to."""
        return self._blocks("U", self.weight_ih)

    def _blocks(self, letter: str, matrix: Tensor) -> Mapping[str, Tensor]:
        blocks = matrix.chunk(len(self.GATES))
        return {f"{letter}_{gate}" if gate else letter: block for gate, block in zip(self.GATES, blocks, strict=True)}

    def input_biases(self) -> tuple[Tensor, Tensor]:
        """Two vectors (G,) whose sum is b, what ``project_inputs`` adds to U x."""
        return self.bias_ih, self.bias_hh

    def project_inputs(self, x: Tensor) -> Tensor:
        """U x + b: (..., E) -> (..., G)."""
        first, second = self.input_biases()
        return nn.functional.linear(x, self.weight_ih, first + second)

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

    def newton(self, projected: Tensor, before, initial) -> tuple[State, State]:
        """One iteration for all states of a sequence at once (``models.parallel.iterations``).

        Without a word of the cell on its Jacobian this is the Jacobi iteration.

        Args:
            projected: input products, (T, B, G).
            before: the guess one step earlier, of (T, B, D).
            initial: the state before the first step, of (B, D).

        Returns:
            φ of the guess (its image), and the next guess.
        """
        image = self.step(projected, before)
        return image, image

    def truncated(self, projected: Tensor, k: int, outputs: int, recompute: bool) -> Tensor:
        """h^(k) at the last T = ``outputs`` positions: ``projected`` (S, B, G) -> (T, B, D).

        By ``models.kernels.truncated``, or, without an ``activation``, by ``truncated_plainly``; ``recompute`` is for
        the former.
        """
        if self.activation is None:
            return self.truncated_plainly(projected, k, outputs)
        return layered(projected, self.weight_hh, k, outputs, self.activation, recompute)

    def truncated_plainly(self, projected: Tensor, k: int, outputs: int) -> Tensor:
        """The plain loop over layers that defines what ``truncated`` gives."""
        k = min(k, len(projected))
        state = self.zeros(0, projected.shape[1])
        for layer in range(1, k + 1):
            end = len(projected) - (k - layer)
            inputs = projected[max(0, end - outputs) : end]
            starting = self.zeros(len(inputs) - len(state.h), projected.shape[1])
            before = type(state)(*(torch.cat(parts) for parts in zip(starting, state, strict=True)))
            state = self.step(inputs, before)
        return state.h
