"""A condition of our own that leaves one loop to the LSTM: its output gate sees the state, the others the input alone.

With W_i = W_f = W_z = 0 the memory is a gated linear recurrence, c' = f ⊙ c + i ⊙ z, which no state can disturb: two of
them that see the same inputs approach each other as the products of forget gates do. The state closes a loop only
through h' = σ(W_o h + U_o x + b_o) ⊙ tanh(c'), whose slope is at most |tanh(c')| / 4 < 1/4. So

    f_∞ < 1  and  ‖W_o‖_2 < 4    make the LSTM contractive,

as a cascade of a system that contracts and one that contracts while its input settles. Among the conditions of
``comparison`` it is the corner at which all of the loop gain, in the 2-norm, is W_o's. The way through the cell costs
1 / (1 - f) and more, so a unit that remembers for long leaves the other three matrices no room; W_o's costs 1/4.
"""

import math

from torch import Tensor

from stablernn.stability.constraints.small_gain import LSTMGatedLinear
from stablernn.stability.constraints.spectral import clip_singular_values

# Of the squared gain, what is kept for the way through the cell, which nothing takes: the norm in which every step
# contracts weighs the cell by its inverse, and ``lstm_proof`` certifies with no less than 3 hundredths.
_SHARE_OF_THE_CELL = 0.04


class LSTMOutputGate(LSTMGatedLinear):
    """W_i = W_f = W_z = 0, ‖diag(tanh(C) / 4) W_o‖_2 <= λ (but for a fiftieth) and every f_j below λ.

    The projection of the recurrent matrices is the Euclidean one: three are zero, and the singular values of the fourth
    are clipped.

    Args:
        limit, every: see ``LSTMLoopGain``.
    """

    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        *others, output = blocks
        for block in others:
            block.zero_()
        self.clip(output, weights[-1])

    def clip(self, output: Tensor, weights: Tensor) -> None:
        """Bring W_o (D, D), weighed row by row by ``weights`` (D,), to the limit, in place."""
        clip_singular_values(output, self.limit * math.sqrt(1 - _SHARE_OF_THE_CELL), weights)
