"""The k-truncated model: a feed-forward network of k layers with shared weights, all positions in parallel.

h_t^(k), the state reached from zero over the last k inputs alone, satisfies (Miller & Hardt 2018, section 3)::

    h_t^(0) = 0,    h_t^(j) = φ(h_{t-1}^(j-1), x_t)

so k batched cell steps give h^(k) at every position at once, where cutting out windows and running each from
zero would take k steps a position.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from stablernn.models.backbone import CellStack, other_streams
from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State, map_state
from stablernn.utils.errors import ConfigurationError

States = tuple[State, ...]


def truncations(
    cells: Sequence[Cell],
    x: Tensor,
    lengths: Iterable[int],
    between: Callable[[Tensor], Tensor] = lambda x: x,
    time: int = 0,
) -> Iterator[tuple[int, States]]:
    """h_t^(k) of every layer of a stack of cells at every position of x, for several k in one pass.

    Args:
        cells: the stack; φ is one step of all of it.
        x: inputs, (N, B, E); nothing precedes position 0, so position t < k sees its t + 1 inputs.
        lengths: the k: numbers of inputs that a position sees, itself included.
        between: applied to what one layer hands to the next (dropout).
        time: of position 0 in its sequence, for cells that depend on it.

    Yields:
        k in ascending order, and one state a layer, tensors of shape (N, B, D).
    """
    projected = cells[0].project_inputs(x)
    positions, batch = x.shape[:2]

    def layer(number: int, before: States) -> States:
        after = []
        for depth, (cell, state) in enumerate(zip(cells, before, strict=True)):
            inputs = projected[number:] if depth == 0 else cell.project_inputs(between(after[-1].h))
            after.append(cell.step(inputs, state))
        return tuple(after)

    def whole() -> States:
        return tuple(
            type(last)(*(torch.cat(parts) for parts in zip(*(first[depth] for first in finished), last, strict=True)))
            for depth, last in enumerate(states)
        )

    states = layer(0, tuple(cell.starts(time, positions, batch) for cell in cells))
    finished: list[States] = []  # position j - 1 has all its inputs after layer j
    reached = 1
    for k in sorted(set(lengths)):
        while reached < min(k, positions):
            finished.append(_slice(states, slice(None, 1)))
            states = layer(reached, _slice(states, slice(None, -1)))
            reached += 1
        yield k, whole()


def truncated_states(
    cells: Sequence[Cell], x: Tensor, k: int, between: Callable[[Tensor], Tensor] = lambda x: x
) -> States:
    """``truncations`` for one k."""
    ((_, states),) = truncations(cells, x, [k], between)
    return states


def check_timeless(cells: Iterable[Cell]) -> None:
    """Raises ConfigurationError if a cell depends on the time: k inputs do not make a feed-forward model of it."""
    for cell in cells:
        if cell.timed:
            raise ConfigurationError(
                f"{type(cell).__name__} depends on the time since the start of the sequence, which its last k inputs "
                "do not tell, so it has no feed-forward model: choose approximation=recurrent or another model="
            )


def _slice(states: States, positions: slice) -> States:
    return tuple(map_state(lambda part: part[positions], state) for state in states)


class FeedForward(CellStack):
    """The k-truncated model as a backbone: its state is the last k - 1 inputs, (k - 1, B, E) or fewer at the start.

    So every position sees exactly k inputs, across window borders too. Carried inputs may need a gradient as well: the
    language model carries the ids of its words and embeds them again, so that its gradient is that of plain windows of
    k words.
    """

    def __init__(self, cells: Sequence[Cell], dropout: float = 0.0, *, k: int, recompute: bool = False) -> None:
        super().__init__(cells, dropout)
        if k < 1:
            raise ConfigurationError(f"k={k}: a feed-forward model sees at least 1 input")
        check_timeless(cells)
        self.k = k
        self.recompute = recompute

    @property
    def receptive_field(self) -> int:
        return self.k

    def initial_state(self, batch: int) -> Tensor:
        return self.cells[0].weight_ih.new_zeros(0, batch, self.cells[0].input_size)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != state.shape[1:]:
            raise other_streams(x, state.shape[1])
        inputs = torch.cat([state, x])
        if len(self.cells) == 1:
            cell = self.cells[0]
            y = cell.truncated(cell.project_inputs(inputs), self.k, len(x), self.recompute)
        else:
            y = truncated_states(self.cells, inputs, self.k, self.dropout)[-1].h[len(state) :]
        return y, inputs[max(0, len(inputs) - self.k + 1) :]
