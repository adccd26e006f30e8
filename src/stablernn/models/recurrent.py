"""The recurrent evaluation of a stack of cells: step by step through time, with its state carried on."""

from torch import Tensor

from stablernn.models.backbone import CellStack
from stablernn.models.cells.state import State


class Recurrent(CellStack):
    """Truncated backpropagation through time: the state is the hidden state of every layer."""

    def initial_state(self, batch: int) -> tuple[State, ...]:
        return tuple(cell.zeros(batch) for cell in self.cells)

    def forward(self, x: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        final = []
        for layer, (cell, before) in enumerate(zip(self.cells, state, strict=True)):
            x, after = cell.sequence(self.dropout(x) if layer else x, before)
            final.append(after)
        return x, tuple(final)
