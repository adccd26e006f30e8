"""The contract of what lies between input layer and head."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from stablernn.models.cells.base import Cell
from stablernn.models.dropout import Dropout
from stablernn.utils.errors import NotApplicableError

CellFactory = Callable[[int, int], Cell]


class Backbone(nn.Module, ABC):
    """What every backbone keeps to: ``forward(x, state) -> (y, state)``, time first.

    x (T, B, E), y (T, B, D). The state is a tensor or a nest of tuples of tensors; whoever carries it on need
    not know what it means. Two windows one after the other, the state carried, give what the joined one gives.
    """

    @property
    def receptive_field(self) -> int | None:
        """Inputs that an output depends on, its own included; None: all before it."""
        return None

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """The state before the first input of B streams."""


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


def cell_stack(backbone: nn.Module) -> CellStack:
    """The backbone as a stack of cells.

    Raises:
        NotApplicableError: it has no cells, so that nothing that is known of cells applies to it.
    """
    if not isinstance(backbone, CellStack):
        raise NotApplicableError(
            f"not applicable: the backbone {type(backbone).__name__} has no recurrent cells, and this is about cells"
        )
    return backbone
