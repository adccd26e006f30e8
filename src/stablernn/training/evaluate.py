"""Scoring: every token of a split exactly once, the state carried along."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stablernn.models.language_model import SequenceModel
from stablernn.models.precision import float32_products
from stablernn.models.recurrent import split_streams
from stablernn.tasks.splits import Split
from stablernn.tasks.windows import Windows
from stablernn.training.graph import WindowLaunch, can_capture, recorder
from stablernn.training.streams import wait

# Tokens that are scored at once, and whose nats are kept as one sum. Intervals resample stretches of several blocks,
# since articles are longer: on WikiText-2's test the standard error of stable against unstable LSTM (d = 200, an epoch)
# is 4 times that of single words by blocks of 1,024, and 8 times by stretches of 8.
BLOCK = 1024
# Pieces of valid that a GPU scores side by side: one step after the other of a single stream leaves it idle.
_VALID_STREAMS = 16


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
    """Scores splits with a model, whatever its weights are by then; on a GPU a block is one launch.

    Args:
        model: that scores.
        graphs: whether a GPU may be given its work in CUDA graphs.
    """

    def __init__(self, model: SequenceModel, graphs: bool = True) -> None:
        self.model = model
        self.device = model.inputs.weight.device
        self._nats = torch.zeros((), dtype=torch.float64, device=self.device)
        captured = graphs and self.device.type == "cuda" and model.objective.fixed_shapes and can_capture(self.device)
        self._record = recorder(self.device) if captured else None
        self._launches: dict[int, WindowLaunch] = {}

    @torch.no_grad()
    def score(self, split: Split, streams: int = 1) -> Score:
        """Score a split, as one stream from the zero state or in several pieces, each from the zero state.

        Args:
            split: of N tokens.
            streams: pieces of ⌊N / streams⌋ tokens that are scored side by side; the last one has the tokens that are
                left over as well. Sums of blocks are kept of a single one.
        """
        was_training = self.model.training
        self.model.eval()
        streams = min(streams, len(split))
        total = torch.zeros_like(self._nats)
        blocks = []
        state = self.model.initial_state(streams)
        for x, y in Windows(split, streams, BLOCK // streams, self.device):
            state = self._block(x, y, state)
            total += self._nats
            if streams == 1:
                blocks.append(self._nats.clone())
        if left := len(split) % streams:
            x, y = Windows(Split(split.ids[-left - 1 :]), 1, left, self.device).window(0)
            self._score(x, y, split_streams(state, streams)[-1])
            total += self._nats
        self.model.train(was_training)
        wait(self.device)
        return Score(float(total), len(split), tuple(torch.stack(blocks).tolist()) if blocks else ())

    def release(self) -> None:
        """Give up what the device holds for the scores beside the model; nothing comes after it."""
        for launch in self._launches.values():
            launch.release()

    def _block(self, x: Tensor, y: Tensor, state: Any) -> Any:
        if self._record is None:
            return self._score(x, y, state)
        streams = x.shape[1]
        if streams not in self._launches:
            self._launches[streams] = WindowLaunch(self._score, self._record)
        return self._launches[streams](x, y, state)

    def _score(self, x: Tensor, y: Tensor, state: Any) -> Any:
        with float32_products(self.device):
            nats, after = self.model.loss(x, y, state)
        self._nats.copy_(nats)
        return after


def valid_streams(device: torch.device) -> int:
    """Pieces that valid is scored in during training; test always is one, and on a CPU so is valid."""
    return _VALID_STREAMS if device.type == "cuda" else 1


def score(model: SequenceModel, split: Split) -> Score:
    """Score a split as one stream from the zero state, in float64 sums; draws no random numbers.

    The model is left in the mode (training or not) that it was in.
    """
    scorer = Scorer(model)
    try:
        return scorer.score(split)
    finally:
        scorer.release()
