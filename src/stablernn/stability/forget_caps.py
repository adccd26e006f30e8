"""Caps on forget gates.

A forget gate is beyond its cap because of few words. They give way: their embedding loses the excess along the row of
U_f (the nearest point for one word and one unit), and what is left of it by scaling. Only biases that alone would open
a gate so far are lowered. (Biases that give way for the words drag all other words along: training answers with larger
U_f, and the two run away.)
"""

import torch
from torch import Tensor

from stablernn.models.cells import LSTMCell

_ROOM = 1.0  # between the pre-activation at which a forget gate is at its cap, and its bias
_CORRECTIONS = 2
_WORDS_A_CHUNK = 4096
_INSIDE = 1 - 1e-5  # float32 sums of a thousand terms round by less


def cap_forget_gates(cell: LSTMCell, inputs: Tensor | None, caps: Tensor) -> None:
    """See to it that no input and no state opens forget gate j further than caps_j, in place."""
    recurrent, drive = cell.recurrent_blocks()["W_f"], cell.input_blocks()["U_f"]
    d = cell.hidden_size
    biases = cell.bias_ih[d : 2 * d], cell.bias_hh[d : 2 * d]
    allowed = torch.logit(caps.double()).to(caps) * (1 - 1e-6) - recurrent.abs().sum(1)
    excess = biases[0] + biases[1] - (allowed - _ROOM)
    margin = 1e-5 * (1 + biases[0].abs() + biases[1].abs())
    for bias in biases:
        bias -= torch.where(excess > margin, excess / 2, 0.0)
    room = (allowed - (biases[0] + biases[1])) * _INSIDE
    if inputs is None:
        sums = drive.abs().sum(1)
        drive.mul_(torch.where(sums > room, room * _INSIDE / sums, 1.0)[:, None])
        return
    squares = drive.square().sum(1) + torch.finfo(drive.dtype).tiny
    for words in inputs.split(_WORDS_A_CHUNK):
        for _ in range(_CORRECTIONS):
            beyond = (words @ drive.T - room).clamp_min_(0)
            if not beyond.is_cuda and not bool(beyond.any()):
                break
            words -= (beyond / squares) @ drive
        else:
            rounding = 1e-6 * (words.abs() @ drive.abs().T)
            reach = ((words @ drive.T + rounding) / room).amax(1)
            words.mul_(torch.where(reach > 1, 1 / reach, 1.0)[:, None])
