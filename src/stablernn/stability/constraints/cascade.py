"""A condition of our own that cuts an LSTM's loops instead of making them weak: its units stand in a cascade.

The units are in groups, and a gate reads the groups before its own, with any weights whatever: where nothing comes back
no loop is closed, and a cascade of contractive systems is contractive (Lohmiller & Slotine 1998). Inside a group what
``output_gate`` leaves is left: the group's own W_o. So

    f_∞ < 1,    W_i, W_f, W_z strictly block lower triangular, W_o block lower triangular with ‖W_o,gg‖_2 < 4

make the LSTM contractive, at any rate that each group alone has, in a norm whose weights fall from group to group (one
group is ``LSTMOutputGate``). The price is a longer k(ε): from group to group the weights fall as much as a long memory
amplifies what is written, 1 / (1 - f) and more.
"""

from itertools import pairwise

from torch import Tensor

from stablernn.stability.constraints.output_gate import LSTMOutputGate
from stablernn.stability.proofs.rates import MOST_PLACES
from stablernn.utils.errors import ConfigurationError


class LSTMCascade(LSTMOutputGate):
    """Groups of units that read those before them: W_i, W_f, W_z from earlier groups alone, W_o also from the own.

    The projection of the recurrent matrices is the Euclidean one: what comes from later groups is zero, and of each
    block of W_o on the diagonal the singular values are clipped.

    Args:
        groups: number of groups, of consecutive units, as even as can be.
        limit, every: see ``LSTMLoopGain``.
    """

    def __init__(self, limit: float = 0.99, groups: int = 2, every: int = 10) -> None:
        if not 1 <= groups <= MOST_PLACES:
            raise ConfigurationError(f"stability.constraint.groups={groups} must lie in [1, {MOST_PLACES}]")
        super().__init__(limit, every)
        self.groups = groups

    def shrink(self, blocks: Tensor, weights: Tensor) -> None:
        d = blocks.shape[-1]
        groups = min(self.groups, d)
        *others, output = blocks
        for start, end in pairwise(number * d // groups for number in range(groups + 1)):
            for block in others:
                block[start:end, start:].zero_()
            output[start:end, end:].zero_()
            self.clip(output[start:end, start:end], weights[-1, start:end])
