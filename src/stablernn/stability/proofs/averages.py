"""Proofs for cells that remember by moving averages: the statistical recurrent unit and the structurally constrained
network.
"""

import torch
from torch import Tensor

from stablernn.models.cells.scrn import SCRNCell
from stablernn.models.cells.state import RNNState
from stablernn.models.cells.statistical import StatisticalCell, StatisticalState
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.proofs.gates import Reach, Seen, sigmoid_slope
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, up, widened
from stablernn.stability.proofs.positive import contractions, joined, reach_of
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import LEAST_MARGIN


@prove.register
def prove_statistical(cell: StatisticalCell, inputs: Seen, dropout: float) -> CellProofs:
    """‖δμ'^α‖ <= α ‖δμ^α‖ + (1 - α) ‖W_φ‖ Σ_β ‖W_r^β‖ ‖δμ^β‖, as relu is 1-Lipschitz: contractive where g < 1.

    From zero every average is a mean of 0 and statistics φ, and ‖φ‖ <= ‖relu(p)‖ + ‖W_φ‖ ‖r‖ with p = U x + b.
    """
    driven = reach_of(cell.weight_ih, cell.bias_ih, inputs, dropout).high.clamp_min(0)
    w_phi, w_r, w_o = (w.detach().double() for w in (cell.weight_rp, cell.weight_mr, cell.weight_mh))
    size, scales = cell.statistics, len(cell.alphas)
    alphas = w_phi.new_tensor(cell.alphas)
    of_phi = up(spectral_norm(w_phi))
    of_r, of_o = (w_phi.new_tensor([up(spectral_norm(part)) for part in w.split(size, dim=1)]) for w in (w_r, w_o))
    gain = up(of_phi * float(of_r.sum()))
    bounds = {"‖W_φ‖_2 Σ ‖W_r‖_2": gain, "max α": max(cell.alphas)}
    if gain >= 1 - LEAST_MARGIN:
        reason = f"‖W_φ‖_2 Σ ‖W_r‖_2 = {gain:.6g} is not below 1: averages may keep each other up"
        return CellProofs([Contraction("weighted 2-norm", max(gain, max(cell.alphas)), reason)], bounds)
    constant = of_phi * float(cell.bias_r.detach().double().clamp_min(0).norm())
    phi = up(up(float(driven.norm()) + constant) / (1 - gain))
    r = up(float(of_r.sum()) * phi + float(cell.bias_r.detach().double().clamp_min(0).norm()))
    mu = ((driven + w_phi.norm(dim=1) * r) * (1 + OUTWARD)).clamp_max(phi).repeat(scales)
    h = (cell.bias_h.detach().double().abs() + w_o.abs() @ mu) * (1 + OUTWARD)
    box = StatisticalState(h, mu)
    averages = torch.diag(alphas) + (1 - alphas)[:, None] * of_phi * of_r
    matrix = alphas.new_zeros(scales + 1, scales + 1)
    matrix[0, 1:], matrix[1:, 1:] = of_o @ averages, averages
    drive = cell.weight_ih.detach().double().abs()

    def moved(change: Tensor) -> StatisticalState:
        of_mu = ((1 - alphas)[:, None] * (drive @ change)).flatten()
        return StatisticalState(w_o.abs() @ of_mu, of_mu)

    found = contractions(matrix * (1 + OUTWARD), box, moved, "", [cell.hidden_size] + [size] * scales)
    return CellProofs(found, bounds | {"max |μ|": float(mu.max()), "max |h|": float(h.max())}, box)


@prove.register
def prove_scrn(cell: SCRNCell, inputs: Seen, dropout: float) -> CellProofs:
    """|δs'| = α |δs| and |δq'| <= σ' (|R δq| + |P δs'|), σ' <= 1/4: contractive where α < 1 and ‖σ' R‖_2 < 1.

    In the 2-norm, and in the ∞-norm of the absolute entries.
    """
    weight, alpha = cell.weight_ih.detach().double(), cell.alpha
    w_r, w_p = cell.weight_hh.detach().double(), cell.weight_sq.detach().double()
    (low_a, low_b), (high_a, high_b) = (cell.split(edge) for edge in reach_of(weight, None, inputs, dropout))
    low_s, high_s = low_b.clamp_max(0), high_b.clamp_min(0)
    above, below = w_p.clamp_min(0), w_p.clamp_max(0)
    a = Reach(
        low_a + above @ low_s + below @ high_s + w_r.clamp_max(0).sum(1),  # 0 <= q <= 1
        high_a + above @ high_s + below @ low_s + w_r.clamp_min(0).sum(1),
    )
    context = torch.maximum(high_s, -low_s)
    a = widened(a, w_p.abs() @ context + w_r.abs().sum(1))
    slope = sigmoid_slope(torch.zeros_like(a.low).clamp(a.low, a.high)) * (1 + OUTWARD)
    box = RNNState(torch.cat([torch.sigmoid(a.high), context]))
    a_rows, b_rows = (part.T.abs() for part in cell.split(weight.T))

    def moved(change: Tensor) -> RNNState:
        of_s = (1 - alpha) * (b_rows @ change)
        return RNNState(torch.cat([slope * (a_rows @ change + w_p.abs() @ of_s), of_s]))

    gates, features = slope[:, None] * w_r, alpha * slope[:, None] * w_p
    norms = weight.new_tensor([[up(spectral_norm(gates)), up(spectral_norm(features))], [0, up(alpha)]])
    sizes = [cell.hidden_size - cell.context, cell.context]
    found = contractions(norms, box, moved, "α or ‖σ' R‖_2 is not below 1: the larger is {rate}", sizes)
    identity = up(alpha) * torch.eye(cell.context, dtype=torch.float64, device=weight.device)
    gain = joined([[gates.abs(), features.abs()], [None, identity]], sizes)
    found += contractions(gain, box, moved, "α or the spectral radius of |σ' R| is not below 1: the larger is {rate}")
    bounds = {"‖R‖_2": spectral_norm(w_r), "α": alpha, "max |h|": float(box.h.max())}
    return CellProofs(found, bounds, box)
