"""The contract of what lies between input layer and head."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.contract import make_cell
from stablernn.models.dropout import Dropout
from stablernn.utils.errors import ConfigurationError, NotApplicableError
from stablernn.utils.wording import counted

CellFactory = Callable[[int, int], Cell]
BackboneFactory = Callable[[int, int, int, float], "Backbone"]


def other_streams(x: Tensor, streams: int) -> ConfigurationError:
    """That inputs x (T, B, E) are not of as many streams as the state, as where their axes are swapped."""
    found = counted(x.shape[1], "stream")
    return ConfigurationError(f"inputs must be (time, batch, ...): they have {found}, and the state has {streams}")


class Backbone(nn.Module, ABC):
    """What every backbone keeps to: ``forward(x, state) -> (y, state)``, time first.

    x (T, B, E), y (T, B, D). The state is a tensor or a nest of tuples of tensors; whoever carries it on need not know
    what it means. Where ``receptive_field`` is a number k, it is the last k - 1 inputs, (k - 1, B, E), or fewer at the
    start. Two windows one after the other, the state carried, give what the joined one gives.

    Attributes:
        whole_sequences: whether outputs depend on later inputs too. Such a network reads each sequence at once, its
            padding apart (``begin``), has a state of its own, and cannot be continued.
        directions: an output has so many times the hidden size of the model.
        marked: whether x has one more entry, (T, B, E + 1): 1 at the id after which a target begins, else 0.
        unproven: why nothing is proven of it, of one that has cells.
        unconstrained: why no constraint applies to its cells.
    """

    whole_sequences: ClassVar[bool] = False
    directions: ClassVar[int] = 1
    marked: ClassVar[bool] = False
    unproven: str = ""
    unconstrained: str = ""

    @property
    def cells_by_layer(self) -> Sequence[Sequence[Cell]]:
        """The recurrent cells of each layer, those side by side together, from the inputs upwards; empty: none."""
        return ()

    @property
    def receptive_field(self) -> int | None:
        """Inputs that an output depends on, its own included; None: all before it, or all of its sequence."""
        return None

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """The state before the first input of B streams."""

    def begin(self, batch: int, lengths: Tensor | None) -> Any:
        """``initial_state`` for streams of so many inputs, (B,), which only ``whole_sequences`` need to know."""
        return self.initial_state(batch)


class CellStack(Backbone):
    """Recurrent cells one above the other; how they are evaluated, step by step or truncated, is for a subclass to say.

    Args:
        cells: the stack, the first one next to the inputs.
        dropout: rate between the layers.
    """

    def __init__(self, cells: Sequence[Cell], dropout: float = 0.0) -> None:
        super().__init__()
        self.cells: Sequence[Cell] = nn.ModuleList(cells)  # type: ignore[assignment]
        self.dropout = Dropout(dropout)

    @property
    def cells_by_layer(self) -> Sequence[Sequence[Cell]]:
        return [(cell,) for cell in self.cells]


def stack_of(cell: CellFactory, stack: Callable[[Sequence[Cell], float], CellStack]) -> BackboneFactory:
    """(input size E, hidden size D, layers, dropout) -> a stack of such cells: E -> D -> ... -> D."""

    def build(input_size: int, hidden_size: int, num_layers: int, dropout: float) -> CellStack:
        sizes = [input_size] + [hidden_size] * num_layers
        cells = [make_cell(cell, *pair) for pair in itertools.pairwise(sizes)]
        for layer, one in enumerate(cells):
            one.place(layer)
        return stack(cells, dropout)

    return build


def cell_stack(backbone: nn.Module) -> CellStack:
    """The backbone as a stack of cells.

    Raises:
        NotApplicableError: it has no cells, so that nothing that is known of cells applies to it; they read in both
            directions, so that no state is determined by the past; or it is no stack.
    """
    if getattr(backbone, "whole_sequences", False):
        raise NotApplicableError(
            f"not applicable: the backbone {type(backbone).__name__} reads later inputs too, and this is about a state "
            "that is carried forwards"
        )
    if not isinstance(backbone, CellStack):
        if reason := getattr(backbone, "unproven", ""):
            raise NotApplicableError(f"not applicable: the backbone is no stack of cells: {reason}")
        field = getattr(backbone, "receptive_field", None)
        exact = "" if field is None else f": it is its own truncation, exact at k = {field}"
        raise NotApplicableError(
            f"not applicable: the backbone {type(backbone).__name__} has no recurrent cells, so there is nothing to "
            f"constrain, to truncate or to replace{exact}"
        )
    return backbone


def recurrent_layers(backbone: Backbone) -> Sequence[Sequence[Cell]]:
    """``Backbone.cells_by_layer``; raises NotApplicableError where there are none."""
    return backbone.cells_by_layer or cell_stack(backbone).cells_by_layer
