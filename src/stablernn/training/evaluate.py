"""Scoring: every token of a split exactly once, state carried from its start to its end."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stablernn.data.splits import Split
from stablernn.data.windows import Windows
from stablernn.models.language_model import SequenceModel
from stablernn.training.graph import WindowLaunch, recorder
from stablernn.training.turns import Turns, arrival, finish

# Tokens that are scored at once, and whose nats are kept as one sum. Intervals resample stretches of several blocks,
# since articles are longer: on WikiText-2's test the standard error of stable against unstable LSTM (d = 200, an epoch)
# is 4 times that of single words by blocks of 1,024, and 8 times by stretches of 8.
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


class Scorer:
    """Scores splits with a model, whatever its weights are by then; on a GPU a block is one launch."""

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self.device = model.inputs.weight.device
        self._nats = torch.zeros((), dtype=torch.float64, device=self.device)
        captured = self.device.type == "cuda" and model.objective.fixed_shapes
        self._block = WindowLaunch(self._score, recorder(self.device)) if captured else self._score

    @torch.no_grad()
    def turns(self, split: Split) -> Turns[Score]:
        """``score``, giving way after each block."""
        was_training = self.model.training
        self.model.eval()
        total = torch.zeros_like(self._nats)
        blocks = []
        state = self.model.initial_state(1)
        for x, y in Windows(split, batch=1, length=BLOCK, device=self.device):
            state = self._block(x, y, state)
            total += self._nats
            blocks.append(self._nats.clone())
            yield
        self.model.train(was_training)
        yield from arrival(self.device)
        return Score(float(total), len(split), tuple(torch.stack(blocks).tolist()))

    def release(self) -> None:
        """Give up what the device holds for the scores beside the model; nothing comes after it."""
        if isinstance(self._block, WindowLaunch):
            self._block.release()

    def _score(self, x: Tensor, y: Tensor, state: Any) -> Any:
        nats, after = self.model.loss(x, y, state)
        self._nats.copy_(nats)
        return after


def score(model: SequenceModel, split: Split) -> Score:
    """Score a split as one stream from the zero state, in float64 sums; draws no random numbers.

    The model is left in the mode (training or not) that it was in.
    """
    scorer = Scorer(model)
    try:
        return finish(scorer.turns(split))
    finally:
        scorer.release()
