"""Constraints on cells whose memory is a mean of itself and of the input: the simple recurrent unit and the QRNN."""

import math

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.qrnn import QRNNCell
from stablernn.models.cells.sru import SRUCell
from stablernn.stability.constraints.base import Constraint, checked_every
from stablernn.stability.constraints.forget_caps import cap_forget_gates, keep_within
from stablernn.stability.proofs.gates import product_reach
from stablernn.utils.errors import ConfigurationError

_INSIDE = 1 - 1e-5  # float32 sums of a thousand terms round by less
_ROOM = 1.0  # between the pre-activation at which a forget gate is at its cap, and its bias
_PEEPHOLE = 0.25  # of |v_f| max |c|: then |v_f| |c - z| <= 1/2


class _ForgetCap(Constraint):
    """A forget gate that no input opens further than a cap.

    Inputs give way, and biases that alone would open it, as ``forget_caps`` says. Above the first layer inputs may
    exceed 1, and what holds there is for the certificate to say.

    Args:
        limit: λ, in (1/2, 1).
        every: project after every so many updates (and before each evaluation).
    """

    def __init__(self, limit: float = 0.999, every: int = 10) -> None:
        if not 0.5 < limit < 1:
            raise ConfigurationError(f"stability.constraint.limit={limit} must lie in (0.5, 1)")
        self.limit = self.rate = limit
        self.every = checked_every(every)


class SRUForgetCap(_ForgetCap):
    """f <= limit for every input; with v, f <= 2 limit - 1 and |v_f| max |c| <= 1/4. Options: see ``_ForgetCap``.

    With F the largest f and κ = |v_f| max |c - z| <= 1/2 the cell contracts at 1 - (1 - F) (1 - κ F), and
    1 - κ F is at least 1/2.
    """

    cell_type = SRUCell

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, SRUCell)
        cap = 2 * self.limit - 1 if cell.peephole else self.limit
        logit = math.log(cap / (1 - cap)) - (_PEEPHOLE if cell.peephole else 0)
        cap_forget_gates(cell, inputs, cell.bias_ih.new_full((cell.hidden_size,), 1 / (1 + math.exp(-logit))))
        if cell.peephole:
            low, high = product_reach(cell.input_blocks()["U_z"], torch.zeros_like(cell.peepholes()[0]), inputs)
            bound = _PEEPHOLE / torch.maximum(high, -low).clamp_min(1e-30)
            v = cell.weight_ch[: cell.hidden_size]
            v.copy_(torch.where(v.abs() > bound * _INSIDE, v.sign() * bound * _INSIDE * _INSIDE, v))


class QRNNForgetCap(_ForgetCap):
    """f <= limit for every sequence of inputs: each of the ``width`` has an equal share. Options: ``_ForgetCap``."""

    cell_type = QRNNCell

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        assert isinstance(cell, QRNNCell)
        d, place = cell.hidden_size, cell.GATES.index("f")
        bias = cell.bias_ih[place * d : (place + 1) * d]
        allowed = math.log(self.limit / (1 - self.limit)) * (1 - 1e-6)
        bias.copy_(torch.where(bias > allowed - _ROOM + 1e-5, allowed - _ROOM, bias))
        room = (allowed - bias) * _INSIDE / cell.width
        drives = [block[place * d : (place + 1) * d] for block in (cell.weight_ih, *cell.earlier_blocks())]
        if inputs is None:
            for drive in drives:
                keep_within(None, drive, room)
        else:
            keep_within(inputs, torch.cat(drives), room.repeat(cell.width))
