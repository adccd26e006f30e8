"""Bounds propagated through a step of the gated cells with recurrent matrices: see ``matrices``."""

import torch
from torch import Tensor

from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.state import LSTMState, RNNState
from stablernn.stability.on_text.matrices import MatrixPropagation, tanh_chord
from stablernn.stability.on_text.propagation import Reference, deviation, product_deviation, propagation, up
from stablernn.stability.proofs.gates import is_coupled
from stablernn.stability.proofs.norms import CellProofs


@propagation.register(LSTMCell)
class LSTMPropagation(MatrixPropagation):
    """c' = f c + i z and h' = o tanh(c'), the output gate being direct; with i = 1 - f where the gates are coupled."""

    direct = 3
    steepest = 0.25

    def __init__(self, cell: LSTMCell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
        assert isinstance(proofs.box, LSTMState)
        self.most = proofs.box.c
        self.coupled = is_coupled(cell)

    def box(self, low: Tensor, high: Tensor, before: LSTMState) -> LSTMState:
        """c by induction from the start of the text, and never above what is proven for all texts."""
        i, f, z, o = high.chunk(4, dim=1)
        i, f, o = (up(torch.sigmoid(gate)).clamp_max(1) for gate in (i, f, o))
        z = up(torch.tanh(torch.maximum(z, -low.chunk(4, dim=1)[2])))
        bounds, c = [], before.c
        for forget, write, most in zip(f, i * z, z, strict=True):
            c = torch.maximum(c, most) if self.coupled else up(forget * c + write)
            c = torch.minimum(c, self.most)
            bounds.append(c)
        c = torch.stack(bounds)
        return LSTMState(torch.minimum(up(o * torch.tanh(c)), self.bounds.h), c)

    def step(
        self, at: Reference, radius: LSTMState, recurrent: Tensor, read: Tensor, low: Tensor, high: Tensor
    ) -> tuple[LSTMState, Tensor]:
        i, f, p_z, o = zip(*(part.chunk(4, dim=1) for part in (low, at.projected + at.recurrent, high)), strict=True)
        i, f, o = (tuple(map(torch.sigmoid, gate)) for gate in (i, f, o))
        z, moved_z = torch.tanh(p_z[1]), deviation(torch.tanh, *p_z)
        if self.coupled:
            c = product_deviation(f, radius.c, at.before.c - z, moved_z)
        else:
            c = product_deviation(f, radius.c, at.before.c) + product_deviation(i, moved_z, z)
        c = torch.minimum(up(c), up(at.box.c + at.after.c.abs()))
        squashed = deviation(torch.tanh, at.after.c - c, at.after.c, at.after.c + c)
        h = product_deviation(o, squashed, torch.tanh(at.after.c))
        return LSTMState(h, c), up(o[2] * squashed)

    def chord(self, at: Reference, moved: Tensor) -> Tensor:
        """σ(p) = (1 + tanh(p / 2)) / 2, times tanh(c')."""
        centre = (at.projected + at.recurrent).chunk(4, dim=1)[3]
        return up(tanh_chord(centre / 2, moved / 2) / 4 * torch.tanh(at.after.c).abs())


@propagation.register(GRUCell)
class GRUPropagation(MatrixPropagation):
    """h' = (1 - z) n + z h with n = tanh(n_x + r m), m = W_n h + b_hn; none is ``direct``: W h comes in products."""

    def __init__(self, cell: GRUCell, proofs: CellProofs) -> None:
        super().__init__(cell, proofs)
        self.reset_bias = cell.reset_bias.detach().double()

    def box(self, low: Tensor, high: Tensor, before: RNNState) -> RNNState:
        return RNNState(self.bounds.h.expand(len(low), -1))

    def step(
        self, at: Reference, radius: RNNState, recurrent: Tensor, read: Tensor, low: Tensor, high: Tensor
    ) -> tuple[RNNState, Tensor]:
        r, z, _ = zip(*(part.chunk(3, dim=1) for part in (low, at.projected + at.recurrent, high)), strict=True)
        r, z = (tuple(map(torch.sigmoid, gate)) for gate in (r, z))
        m = at.recurrent.chunk(3, dim=1)[2] + self.reset_bias
        moved = product_deviation(r, recurrent.chunk(3, dim=1)[2], m)
        moved = moved + (read + at.noise).chunk(3, dim=1)[2]
        inner = at.projected.chunk(3, dim=1)[2] + r[1] * m
        moved_n = deviation(torch.tanh, inner - moved, inner, inner + moved)
        h = product_deviation(z, radius.h, at.before.h - torch.tanh(inner), moved_n)
        return RNNState(h), torch.zeros_like(h)
