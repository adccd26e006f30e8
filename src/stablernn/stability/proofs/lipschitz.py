"""Proofs for h' = φ(W h + p) with p = U x + b and a φ that is 1-Lipschitz and grows nothing: |φ(a + p)| <= |a| + |p|.

Then |δh'| <= |W δh| unit by unit, so the cell contracts in any weighted 2-norm in which ‖D W D⁻¹‖_2 < 1, and from zero

    ‖D h‖ <= ‖D |p|‖ / (1 - ‖D W D⁻¹‖_2).
"""

import copy

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.irnn import IRNNCell
from stablernn.models.cells.orthogonal import OrthogonalCell
from stablernn.models.cells.state import RNNState
from stablernn.models.cells.unitary import UnitaryCell
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.spectral import balance
from stablernn.stability.proofs.gates import UNDERFLOW, Seen, input_reach, term_sizes
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import LEAST_MARGIN

_LEAST_NORM = 1e-150  # float64 may round the squares of a tiny matrix to zero


@prove.register
def prove_relu(cell: IRNNCell, inputs: Seen, dropout: float) -> CellProofs:
    """Of the IRNN, np-RNN and RIN: relu(a + p) <= |a| + relu(p)."""
    reach = widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))
    exact = copy.deepcopy(cell).double()
    return _proofs(exact, exact.matrix(), reach.high.clamp_min(0))


@prove.register
def prove_orthogonal(cell: OrthogonalCell, inputs: Seen, dropout: float) -> CellProofs:
    """modReLU is 1-Lipschitz where its b is not above 0. An orthogonal W changes no length: that is no contraction."""
    highest = float(cell.threshold.detach().max())
    if highest > 0:
        reason = f"modReLU jumps at 0 where its b is above 0, and the largest b is {highest:.3g}"
        return CellProofs([Contraction("2-norm", float("inf"), reason)], {"max b": highest})
    reach = widened(input_reach(cell, inputs, dropout), term_sizes(cell, inputs, dropout))
    return _proofs(cell, cell.weight_hh, torch.maximum(reach.high, -reach.low))


@prove.register
def prove_unitary(cell: UnitaryCell, inputs: Seen, dropout: float) -> CellProofs:
    """None: where modReLU passes them, W and modReLU leave differences of states as long as they are."""
    reason = "W is unitary and leaves every difference of states as long as it is"
    return CellProofs([Contraction("2-norm", 1.0, reason)], {"max b": float(cell.threshold.detach().max())})


def _proofs(cell: Cell, weight: Tensor, driven: Tensor) -> CellProofs:
    """``driven`` (D,) bounds |φ(p)|."""
    weight = weight.detach().double()
    drive = cell.weight_ih.detach().double().abs()
    boxes: list[Tensor] = []

    def contraction(name: str, units: Tensor, reason: str) -> Contraction:
        norm_of_weight = spectral_norm(units[:, None] * weight / units)
        rate = up(max(norm_of_weight, _LEAST_NORM)) if bool(weight.any()) else 0.0
        if rate >= 1 - LEAST_MARGIN:
            return Contraction(name, rate, reason.format(rate=rate))
        norm = StateNorm(2, RNNState(units))
        radius = up(norm.over(RNNState(driven)) / (1 - rate))
        boxes.append(radius / units * (1 + OUTWARD))
        return Contraction(name, rate, "", norm, radius, lambda change: norm.over(RNNState(drive @ change.double())))

    candidates = [
        contraction("2-norm", torch.ones_like(driven), "‖W‖_2 = {rate:.6g} is not below 1"),
        contraction(
            "weighted 2-norm", balance(weight), "‖D W D⁻¹‖_2 = {rate:.6g} is not below 1 for the D that balances W"
        ),
    ]
    bounds = {"‖W‖_2": spectral_norm(weight), "‖W‖_∞": float(weight.abs().sum(1).max())}
    if not boxes:
        return CellProofs(candidates, bounds)
    h = torch.stack(boxes).amin(0).clamp_min(UNDERFLOW)
    return CellProofs(candidates, bounds | {"max |h|": float(h.max())}, RNNState(h))
