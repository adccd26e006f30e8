"""Why nothing is proven of a Fourier recurrent unit."""

import math

from stablernn.models.cells.fru import FRUCell
from stablernn.stability.proofs.gates import Seen
from stablernn.stability.proofs.norms import CellProofs, Contraction
from stablernn.stability.proofs.prove import prove


@prove.register
def prove_fru(cell: FRUCell, inputs: Seen, dropout: float) -> CellProofs:
    """Two states with other clocks keep their distance for ever, and u forgets nothing of what it has added up."""
    reason = "it counts its steps and adds up its statistics: nothing is forgotten"
    return CellProofs([Contraction("none", math.inf, reason)], {})
