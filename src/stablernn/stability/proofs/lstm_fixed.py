"""Proof for an LSTM whose forget gate is a constant: that of the LSTM that computes the same."""

import math

from stablernn.models.cells.lstm_fixed import FixedForgetLSTMCell
from stablernn.stability.proofs.gates import Seen
from stablernn.stability.proofs.lstm import prove_lstm
from stablernn.stability.proofs.norms import CellProofs, Contraction
from stablernn.stability.proofs.prove import prove


@prove.register
def prove_fixed(cell: FixedForgetLSTMCell, inputs: Seen, dropout: float) -> CellProofs:
    """With f = 1 there is none: c' = c + i z is a sum that two runs need not agree on again, and it has no bound."""
    if cell.forget == 1:
        return CellProofs([Contraction("none", math.inf, "f = 1: what is written to c is never forgotten")], {})
    return prove_lstm(cell.as_lstm(), inputs, dropout)
