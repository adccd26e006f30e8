"""Caps on forget gates: f of an LSTM, z of a GRU.

A forget gate is beyond its cap because of few words. They give way: their embedding loses the excess along the row of
U_f (the nearest point for one word and one unit), and what is left of it by scaling. Only biases that alone would open
a gate so far are lowered. (Biases that give way for the words drag all other words along: training answers with larger
U_f, and the two run away.)
"""

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell

_ROOM = 1.0  # between the pre-activation at which a forget gate is at its cap, and its bias
_CORRECTIONS = 2
_WORDS_A_CHUNK = 4096
_INSIDE = 1 - 1e-5  # float32 sums of a thousand terms round by less


def cap_forget_gates(cell: Cell, inputs: Tensor | None, caps: Tensor, gate: str = "f") -> None:
    """See to it that no input and no state opens forget gate j further than caps_j, in place.

    The cell may have no recurrent matrix and one bias (``ElementwiseCell``).
    """
    recurrent, drive = cell.recurrent_blocks().get(f"W_{gate}"), cell.input_blocks()[f"U_{gate}"]
    d, place = cell.hidden_size, cell.GATES.index(gate)
    names = [name for name in ("bias_ih", "bias_hh") if name in cell.shapes()]
    biases = [getattr(cell, name)[place * d : (place + 1) * d] for name in names]
    allowed = torch.logit(caps.double()).to(caps) * (1 - 1e-6)
    if recurrent is not None:
        allowed = allowed - recurrent.abs().sum(1)
    excess = torch.stack(biases).sum(0) - (allowed - _ROOM)
    margin = 1e-5 * (1 + torch.stack(biases).abs().sum(0))
    for bias in biases:
        bias -= torch.where(excess > margin, excess / len(biases), 0.0)
    keep_within(inputs, drive, (allowed - torch.stack(biases).sum(0)) * _INSIDE)


def keep_within(inputs: Tensor | None, drive: Tensor, room: Tensor) -> None:
    """See to it that U x <= room (D,) for every input, in place: words (V, E) give way; without any, U (D, E) does."""
    if inputs is None:
        sums = drive.abs().sum(1)
        drive.mul_(torch.where(sums > room, room * _INSIDE / sums, 1.0)[:, None])
        return
    if inputs.is_cuda:
        _cap_without_reading(inputs, drive, room)
        return
    for words in inputs.split(_WORDS_A_CHUNK):
        _give_way(words, drive, room)


def _cap_without_reading(inputs: Tensor, drive: Tensor, room: Tensor) -> None:
    """One product over all words finds the thousands that open a gate farthest, and those give way.

    Any further word beyond its room is scaled. So the cost does not depend on how many there are, and no number is
    read.
    """
    reach = torch.cat([_reach(words, drive, room) for words in inputs.split(_WORDS_A_CHUNK)])
    farthest = reach.topk(min(len(inputs), _WORDS_A_CHUNK)).indices
    words = inputs[farthest]
    _give_way(words, drive, room)
    inputs.mul_(torch.where(reach > 1, 1 / reach, 1.0)[:, None])
    inputs.index_copy_(0, farthest, words)


def _give_way(words: Tensor, drive: Tensor, room: Tensor) -> None:
    """Move words (n, E) until U_f x (n, D) is within ``room`` (D,), in place."""
    squares = drive.square().sum(1) + torch.finfo(drive.dtype).tiny
    for _ in range(_CORRECTIONS):
        beyond = (words @ drive.T - room).clamp_min_(0)
        if not beyond.is_cuda and not bool(beyond.any()):
            return
        words -= (beyond / squares) @ drive
    reach = _reach(words, drive, room)
    words.mul_(torch.where(reach > 1, 1 / reach, 1.0)[:, None])


def _reach(words: Tensor, drive: Tensor, room: Tensor) -> Tensor:
    """The largest share of its room that U_f x takes, rounded up, for each word (n,)."""
    rounding = 1e-6 * torch.linalg.vector_norm(words, dim=1)[:, None] * torch.linalg.vector_norm(drive, dim=1)
    return ((words @ drive.T + rounding) / room).amax(1)
