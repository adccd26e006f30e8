"""What a truncation curve costs on this machine: by the layer and word, by the softmax, by the word of the stream."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stablernn.analysis.truncation import truncation_curve
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.timing import seconds_of

_WORDS = 1024
_FEW, _MORE = 4, 16  # layers
_ROUNDS = 2  # the lesser time counts: the first one is that of a cold machine
_SEQUENCES = 8  # that are timed of a network of both directions


@dataclass(frozen=True)
class CurveCost:
    """Seconds of a curve of one model.

    Attributes:
        layer: of one layer of the truncated network at one word.
        softmax: of one row.
        stream: of one word that the recurrent model reads.
        word: of one that it also scores, with what its truncations are held against.
    """

    layer: float
    softmax: float
    stream: float
    word: float

    @classmethod
    @torch.no_grad()
    def measured(cls, model: SequenceModel, split: Split | Sequences) -> "CurveCost":
        """By the first words of a split; float64 models count as such."""
        split = split.first(_WORDS)
        device = model.device
        if isinstance(split, Sequences):
            inputs, targets = (
                torch.cat(side).to(device) for side in zip(*((b.x, b.y[:, 0]) for b in split), strict=True)
            )
            if inputs.is_floating_point():  # frames, and not ids
                inputs = inputs.to(model.dtype)
        else:
            inputs = torch.as_tensor(split.inputs.astype("int64"), device=device)[:, None]
            targets = torch.as_tensor(split.targets.astype("int64"), device=device)
        x = model.inputs(inputs)
        backbone = Recurrent(list(model.cells)).eval()
        features = backbone(x, backbone.initial_state(1))[0][:, 0]

        def least(work) -> float:
            return min(seconds_of(work, device) for _ in range(_ROUNDS)) / len(split)

        # With so much tolerance no truncation needs a softmax of its own.
        few, more = (
            least(lambda k=k: truncation_curve(model, split, range(1, k + 1), tolerance=math.inf))
            for k in (_FEW, _MORE)
        )
        layer = max(0.0, more - few) / (_MORE - _FEW)
        return cls(
            layer=layer,
            softmax=least(lambda: model.objective.log_probabilities(features, targets)),
            stream=least(lambda: backbone(x, backbone.initial_state(1))),
            word=max(0.0, few - _FEW * layer),
        )

    def seconds(self, words: int, layers: int, rows: float, before: int = 0) -> float:
        """Of a whole curve.

        Args:
            words: that are scored.
            layers: the largest k.
            rows: softmaxes that its truncations need.
            before: further words, which only lead the state to those that are scored.
        """
        return words * (self.word + layers * self.layer) + rows * self.softmax + before * self.stream


def both_ways_seconds(model: SequenceModel, split: Sequences, lengths: Sequence[int], tolerance: float) -> float:
    """Of a whole curve of a network of both directions, by its first sequences; float64 models count as such.

    Its windows share no work, so that a curve costs their steps, and not layers.
    """
    wanted = sorted(set(lengths))

    def steps(part: Sequences) -> int:
        sizes = [len(target) for target in part.targets]
        return sum(size + sum(min(2 * k - 1, size) for k in wanted if k < size) for size in sizes)

    sample = split.first(sum(map(len, split.items[:_SEQUENCES])))
    truncation_curve(model, split.first(1), wanted[:1], tolerance)  # the first time is that of a cold machine
    seconds = seconds_of(lambda: truncation_curve(model, sample, wanted, tolerance), model.device)
    return seconds * steps(split) / steps(sample)
