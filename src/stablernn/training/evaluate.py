"""Scoring: every token of a split exactly once, state carried from its start to its end."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from stablernn.data.splits import Split
from stablernn.data.windows import Windows
from stablernn.models.language_model import SequenceModel

# Tokens that are scored at once, and whose nats are kept as one sum. Intervals resample these blocks, so they must be
# long beside the words over which losses are alike, and many in a split. On WikiText-2's test (240 blocks) the standard
# error of stable against unstable LSTM is 1.5 times that of single words with blocks of 1,024, and of 4,096 1.6 times.
BLOCK = 1024


@dataclass(frozen=True)
class Score:
    """Summed negative log-probability of a text.

    Attributes:
        nats: of all its ``tokens`` tokens.
        blocks: of each ``BLOCK`` tokens after the other, the last ones perhaps fewer; empty where nobody kept them.
    """

    nats: float
    tokens: int
    blocks: tuple[float, ...] = field(default=(), repr=False)

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens), infinite where that overflows."""
        try:
            return math.exp(self.nats / self.tokens)
        except OverflowError:
            return math.inf

    def as_dict(self) -> dict[str, float]:
        """What a record's metrics hold: the sums of the blocks have a file of their own."""
        return {"nats": self.nats, "tokens": self.tokens, "perplexity": self.perplexity}

    def as_blocks(self) -> dict[str, Any]:
        """What a record keeps of the text's parts."""
        return {"length": BLOCK, "tokens": self.tokens, "nats": list(self.blocks)}


@torch.no_grad()
def score(model: SequenceModel, split: Split) -> Score:
    """Score a split as one stream from the zero state, in float64 sums; draws no random numbers.

    The model is left in the mode (training or not) that it was in.
    """
    device = model.inputs.weight.device
    was_training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    blocks = []
    state = model.initial_state(1)
    for x, y in Windows(split, batch=1, length=BLOCK):
        nats, state = model.loss(x.to(device), y.to(device), state)
        total += nats
        blocks.append(nats)
    model.train(was_training)
    return Score(float(total), len(split), tuple(torch.stack(blocks).tolist()))
