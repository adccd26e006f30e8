"""Scoring: every token of a split exactly once, state carried from its start to its end."""

import math
from dataclasses import asdict, dataclass

import torch

from stablernn.data.splits import Split
from stablernn.data.windows import Windows
from stablernn.models.language_model import SequenceModel

_POSITIONS_A_CHUNK = 1024


@dataclass(frozen=True)
class Score:
    """nats: summed negative log-probability of ``tokens`` tokens."""

    nats: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens), infinite where that overflows."""
        try:
            return math.exp(self.nats / self.tokens)
        except OverflowError:
            return math.inf

    def as_dict(self) -> dict[str, float]:
        return asdict(self) | {"perplexity": self.perplexity}


@torch.no_grad()
def score(model: SequenceModel, split: Split) -> Score:
    """Score a split as one stream from the zero state, in float64 sums; draws no random numbers.

    The model is left in the mode (training or not) that it was in.
    """
    device = model.inputs.weight.device
    was_training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    state = model.initial_state(1)
    for x, y in Windows(split, batch=1, length=_POSITIONS_A_CHUNK):
        nats, state = model.loss(x.to(device), y.to(device), state)
        total += nats
    model.train(was_training)
    return Score(float(total), len(split))
