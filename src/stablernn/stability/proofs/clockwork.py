"""Why nothing is proven of a clockwork network, step by step."""

from stablernn.models.cells.clockwork import ClockworkCell
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.proofs.gates import Seen
from stablernn.stability.proofs.norms import CellProofs, Contraction
from stablernn.stability.proofs.prove import prove


@prove.register
def prove_clockwork(cell: ClockworkCell, inputs: Seen, dropout: float) -> CellProofs:
    """A module that waits keeps every difference, so in no fixed norm does a step contract.

    Over the period T_i module i does where ‖W_ii‖_2 < 1, by ‖W_ii‖_2^(1 / T_i) a step, given the slower modules: in a
    norm that changes with the time, which the contract of a certificate does not have.
    """
    rates = {
        f"‖W_{period}‖_2^(1/{period})": spectral_norm(block) ** (1 / period)
        for period, block in zip(cell.periods, cell.recurrent_blocks().values(), strict=True)
    }
    reason = "a module that waits for its period keeps every difference, so no single step contracts"
    return CellProofs([Contraction("2-norm", 1.0, reason)], rates)
