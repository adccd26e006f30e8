"""Proofs for cells whose memory is a mean of itself and of the input: the simple recurrent unit and the QRNN.

c' = f c + (1 - f) z lies between c and z. So |c| never exceeds the largest |z|. With the slope σ' of f and w no less
than |c - z|, c' moves by at most f |δc| + w σ' |δa| + (1 - f) |δz|, where a is the pre-activation of f.
"""

import math

import torch
from torch import Tensor

from stablernn.models.cells.qrnn import QRNNCell, QRNNState
from stablernn.models.cells.sru import SRUCell
from stablernn.models.cells.state import LSTMState
from stablernn.stability.proofs.gates import Reach, Seen, sigmoid_slope, tanh_slope
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, widened
from stablernn.stability.proofs.positive import contractions, joined, reach_of
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.rates import LEAST_MARGIN

_CLOSED = f"a gate comes to within {LEAST_MARGIN:g} of 1: its unit need not forget"


@prove.register
def prove_sru(cell: SRUCell, inputs: Seen, dropout: float) -> CellProofs:
    """∂c'/∂c = f + v f (1 - f) (c - z), at most f + κ f (1 - f) with κ = |v| w: a concave function of f.

    Below 1 for every f < 1 where κ <= 1.
    """
    weight, d = cell.weight_ih.detach().double(), cell.hidden_size
    f, r, z = _thirds(reach_of(weight, sum(cell.input_biases()), inputs, dropout))  # type: ignore[arg-type]
    highway = cell.highway().detach().double()
    past = reach_of(highway, None, inputs, dropout)
    v_f, v_r = (v.detach().double().abs() for v in cell.peepholes())
    low, high = z.low.clamp_max(0), z.high.clamp_min(0)  # of c and z
    c, width = torch.maximum(high, -low) * (1 + OUTWARD), (high - low) * (1 + OUTWARD)
    f, r = (widened(Reach(gate.low - v * c, gate.high + v * c), v * c) for gate, v in ((f, v_f), (r, v_r)))
    slope_f, slope_r = (_steepest(gate) for gate in (f, r))
    keeps = _largest_slope(f, v_f * width)
    opens, past_opens = torch.sigmoid(r.high), torch.sigmoid(-r.low)
    apart = torch.maximum(high - past.low, past.high - low) * (1 + OUTWARD)  # of c and the highway
    h = torch.maximum(c, torch.maximum(past.high, -past.low))
    box = LSTMState(h, c)
    u_f, u_r, u_z = weight.abs().chunk(3)

    def moved(change: Tensor) -> LSTMState:
        of_c = width * slope_f * (u_f @ change) + torch.sigmoid(-f.low) * (u_z @ change)
        of_h = opens * of_c + apart * slope_r * (u_r @ change) + past_opens * (highway.abs() @ change)
        return LSTMState(of_h, of_c)

    reads = opens * keeps + apart * slope_r * v_r
    gain = joined([[None, torch.diag(reads)], [None, torch.diag(keeps)]], [d, d])
    bounds = {
        "max f": float(torch.sigmoid(f.high).max()),
        "max |v_f| |c - z|": float((v_f * width).max()),
        "max |c|": float(c.max()),
        "max |h|": float(h.max()),
    }
    if float(keeps.max()) >= 1 - LEAST_MARGIN:
        reason = _CLOSED if bounds["max f"] >= 1 - LEAST_MARGIN else "max |∂c'/∂c| is not below 1: v_f is too large"
        return CellProofs([Contraction("weighted 2-norm", float(keeps.max()), reason)], bounds, box)
    return CellProofs(contractions(gain, box, moved, _CLOSED), bounds, box)


@prove.register
def prove_qrnn(cell: QRNNCell, inputs: Seen, dropout: float) -> CellProofs:
    """|δc'| <= max f |δc| + what the inputs that differ still do; these are gone after ``width`` - 1 steps."""
    d, lags = cell.hidden_size, cell.width - 1
    bias = cell.bias_ih.detach().double()
    total = reach_of(cell.weight_ih, bias, inputs, dropout)
    earlier = [block.detach().double() for block in cell.earlier_blocks()]
    for block in earlier:  # before the first input there is zero
        reach = reach_of(block, None, inputs, dropout)
        total = Reach(total.low + reach.low.clamp_max(0), total.high + reach.high.clamp_min(0))
    z, f, o = _thirds(Reach(total.low - OUTWARD * total.low.abs(), total.high + OUTWARD * total.high.abs()))
    c = torch.tanh(torch.maximum(z.high, -z.low)) * (1 + OUTWARD)
    keeps, opens, writes = torch.sigmoid(f.high), torch.sigmoid(o.high), torch.sigmoid(-f.low)
    slope_z = tanh_slope(torch.zeros_like(z.low).clamp(z.low, z.high))

    def moves(rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of c' and of h' by an input, (D, E), from the rows that multiply it (3D, E)."""
        of_z, of_f, of_o = rows.abs().chunk(3)
        memory = (writes * slope_z)[:, None] * of_z + (2 * c * _steepest(f))[:, None] * of_f
        return memory, opens[:, None] * memory + (c * _steepest(o))[:, None] * of_o

    now = moves(cell.weight_ih.detach().double())
    shift = torch.eye(cell.input_size, dtype=torch.float64, device=bias.device)
    entries = reach_of(shift, None, inputs, dropout)
    x = torch.maximum(entries.high, -entries.low)
    box = QRNNState(opens * c, c, x.repeat(lags))
    sizes = [d, d] + [cell.input_size] * lags
    then = [moves(block) for block in earlier]
    rows: list[list[Tensor | None]] = [
        [None, torch.diag(opens * keeps), *(read for _, read in then)],
        [None, torch.diag(keeps), *(memory for memory, _ in then)],
    ]
    for lag in range(lags):
        rows.append([None, None, *(shift if other == lag - 1 else None for other in range(lags))])

    def moved(change: Tensor) -> QRNNState:
        seen = torch.cat([change, change.new_zeros(len(change) * lags)])[: len(change) * lags]
        return QRNNState(now[1] @ change, now[0] @ change, seen)

    bounds = {"max f": float(keeps.max()), "median max f": float(keeps.median()), "max |c|": float(c.max())}
    if bounds["max f"] >= 1 - LEAST_MARGIN:
        return CellProofs([Contraction("weighted 2-norm", bounds["max f"], _CLOSED)], bounds, box)
    return CellProofs(contractions(joined(rows, sizes), box, moved, _CLOSED), bounds, box)


def _thirds(reach: Reach) -> tuple[Reach, Reach, Reach]:
    first, second, third = (Reach(*edges) for edges in zip(*(edge.chunk(3) for edge in reach), strict=True))
    return first, second, third


def _steepest(gate: Reach) -> Tensor:
    """The largest σ' over a range, (D,)."""
    return sigmoid_slope(torch.zeros_like(gate.low).clamp(gate.low, gate.high)) * (1 + OUTWARD)


def _largest_slope(gate: Reach, kappa: Tensor) -> Tensor:
    """The largest f + κ f (1 - f) with f = σ(a) over the range of a: at f = (1 + κ) / 2κ, or as near as a comes."""
    best = torch.where(kappa > 1, -torch.log((kappa - 1).clamp_min(1e-300) / (1 + kappa)), math.inf)
    a = torch.maximum(torch.minimum(best, gate.high), gate.low)
    return (torch.sigmoid(a) + kappa * sigmoid_slope(a)) * (1 + OUTWARD)
