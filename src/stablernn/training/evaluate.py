"""Scoring: every item of a split exactly once, the state of a text carried along."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stablernn.models.precision import float32_products
from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import split_streams
from stablernn.tasks.base import Batch
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.tasks.windows import Windows
from stablernn.training.graph import WindowLaunch, can_capture, recorder
from stablernn.training.streams import wait
from stablernn.utils.metrics import PERPLEXITY, Metric, Score

# Tokens that are scored at once, and whose nats are kept as one sum. Intervals resample stretches of several blocks,
# since articles are longer: on WikiText-2's test the standard error of stable against unstable LSTM (d = 200, an epoch)
# is 4 times that of single words by blocks of 1,024, and 8 times by stretches of 8.
BLOCK = 1024
# Pieces of valid that a GPU scores side by side: one step after the other of a single stream leaves it idle.
_VALID_STREAMS = 16


class Scorer:
    """Scores splits with a model, whatever its weights are by then; on a GPU a block is one launch."""

    def __init__(self, model: SequenceModel, graphs: bool = True, metric: Metric = PERPLEXITY) -> None:
        self.model = model
        self.metric = metric
        self.device = model.device
        self._nats = torch.zeros((), dtype=torch.float64, device=self.device)
        captured = graphs and self.device.type == "cuda" and model.objective.fixed_shapes and can_capture(self.device)
        self._record = recorder(self.device) if captured else None
        self._launches: dict[int, WindowLaunch] = {}

    @torch.no_grad()
    def score(self, split: Split | Sequences, streams: int = 1) -> Score:
        """Score a split, as one stream from the zero state or in several pieces, each from the zero state.

        Sequences are scored one by one, each from the zero state, and their sums and tallies are kept.

        Args:
            split: of N tokens.
            streams: pieces of ⌊N / streams⌋ tokens that are scored side by side; the last one has the tokens that are
                left over as well. Sums of blocks are kept of a single one.
        """
        was_training = self.model.training
        self.model.eval()
        total = torch.zeros_like(self._nats)
        blocks, counts = [], []
        if isinstance(split, Sequences):
            outputs = []
            for sequence in split:
                outputs.append(self._score_sequence(sequence, split.tally is not None))
                total += self._nats
                blocks.append(self._nats.clone())
                counts.append(sequence.count)
            score = self._done(was_training, total, split, blocks, counts)
            return score if split.tally is None else replace(score, tallies=_tallies(split, outputs))
        streams = min(streams, len(split))
        state = self.model.initial_state(streams)
        for x, y in Windows(split, streams, BLOCK // streams, self.device):
            state = self._block(x, y, state)
            total += self._nats
            if streams == 1:
                blocks.append(self._nats.clone())
                counts.append(len(y))
        if left := len(split) % streams:
            x, y = Windows(Split(split.ids[-left - 1 :]), 1, left, self.device).window(0)
            self._score(x, y, split_streams(state, streams)[-1])
            total += self._nats
        return self._done(was_training, total, split, blocks, counts)

    def _done(
        self, training: bool, total: Tensor, split: Split | Sequences, totals: list[Tensor], counts: list[int]
    ) -> Score:
        self.model.train(training)
        wait(self.device)
        parts = tuple(torch.stack(totals).tolist()) if totals else ()
        return Score(float(total), len(split), self.metric, parts, tuple(counts))

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

    def _score_sequence(self, sequence: Batch, predict: bool) -> Tensor | None:
        """The most probable outputs (T, 1), where they are asked for."""
        x, y, state = sequence.x.to(self.device), sequence.y.to(self.device), self.model.initial_state(1)
        mask = None if sequence.mask is None else sequence.mask.to(self.device)
        if not predict:
            self._score(x, y, state, mask)
            return None
        with float32_products(self.device):
            features, _ = self.model(x, state)
            if mask is not None:
                features, y = features[mask][:, None], y[mask][:, None]
            self._nats.copy_(self.model.objective(features, y))
            return self.model.objective.logits(features).argmax(-1)

    def _score(self, x: Tensor, y: Tensor, state: Any, mask: Tensor | None = None) -> Any:
        with float32_products(self.device):
            nats, after = self.model.loss(x, y, state, mask)
        self._nats.copy_(nats)
        return after


def _tallies(split: Sequences, outputs: list[Tensor]) -> tuple[tuple[int, ...], ...]:
    """What the metric counts of each sequence."""
    assert split.tally is not None
    predictions = torch.cat(outputs)[:, 0].cpu().split([len(output) for output in outputs])  # one transfer
    return tuple(split.tally(y.tolist(), ids.tolist()) for y, ids in zip(split.items, predictions, strict=True))


def valid_streams(device: torch.device) -> int:
    """Pieces that valid is scored in during training; test always is one, and on a CPU so is valid."""
    return _VALID_STREAMS if device.type == "cuda" else 1


def score(model: SequenceModel, split: Split | Sequences, metric: Metric = PERPLEXITY) -> Score:
    """Score a split as ``Scorer.score`` does, in float64 sums; draws no random numbers.

    The model is left in the mode (training or not) that it was in.
    """
    scorer = Scorer(model, metric=metric)
    try:
        return scorer.score(split)
    finally:
        scorer.release()
