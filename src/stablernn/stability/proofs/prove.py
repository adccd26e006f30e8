"""Proofs that a cell is contractive, by its kind: a file for each beside this one, which registers itself."""

import math
from functools import singledispatch

from stablernn.models.cells.base import Cell
from stablernn.stability.proofs.gates import Seen
from stablernn.stability.proofs.norms import CellProofs, Contraction


@singledispatch
def prove(cell: Cell, inputs: Seen, dropout: float) -> CellProofs:
    """Try to prove that a cell is contractive.

    Args:
        cell: to be examined.
        inputs: all inputs that it can see, (V, E) or a box; None: any hidden state.
        dropout: rate of the dropout on its inputs; 0 at inference.
    """
    name = type(cell).__name__
    return CellProofs([Contraction("none", math.inf, f"no condition is known for {name}")], {})
