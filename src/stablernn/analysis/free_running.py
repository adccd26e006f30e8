"""analysis=free_running: targets as a model says them by itself, each item the most probable one after its own.

Scores are of true inputs: after a mistake the next item is again predicted from the true one. By itself a model reads
its mistake. Until the first one the two read the same, so a target is all right by itself exactly where it is all right
with true inputs; it is the share of items that true inputs flatter.
"""

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_split
from stablernn.models.sequence_model import SequenceModel
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.transduction import Pairs
from stablernn.training.evaluate import score
from stablernn.training.trained import Trained
from stablernn.utils.errors import NotApplicableError
from stablernn.utils.metrics import Metric
from stablernn.utils.timing import seconds_of

_STREAMS = 256  # sources of one length, side by side


@torch.no_grad()
def said(model: SequenceModel, split: Sequences) -> list[list[int]]:
    """What a model in evaluation mode says after each source, as many items as the target has.

    Args:
        model: reads what it predicts.
        split: of N sequences; what comes before the first item is the source.
    """
    alike = defaultdict(list)
    for number, x in enumerate(split.inputs):
        alike[split.before(number) + 1].append((number, torch.from_numpy(x)))
    result: list[list[int]] = [[] for _ in split.inputs]
    for length, sources in alike.items():
        for first in range(0, len(sources), _STREAMS):
            some = sources[first : first + _STREAMS]
            read = torch.stack([x[:length] for _, x in some], dim=1).to(model.device)
            state, items = model.initial_state(len(some)), []
            for _ in range(max(len(split.items[number]) for number, _ in some)):
                features, state = model(read, state)
                read = model.objective.logits(features[-1]).argmax(-1)[None]
                items.append(read[0])
            for (number, _), written in zip(some, torch.stack(items, dim=1).tolist(), strict=True):
                result[number] = written[: len(split.items[number])]
    return result


@dataclass(frozen=True)
class FreeRunning:
    """Items and whole targets that are right, with true inputs and with own outputs fed back; of the best weights.

    Args:
        split: of the data.
    """

    split: str = "test"
    name: ClassVar[str] = "free_running"
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_split(self.split)

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, trained: Trained) -> None:
        """Raises NotApplicableError where no target follows a source."""
        if not isinstance(trained.corpus, Pairs):
            raise NotApplicableError(f"not applicable: {trained.corpus.name} has no sources with targets")

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by its first targets."""
        model, split = subject.model("best"), subject.corpus.splits[self.split]
        sample, metric = split.first(sum(map(len, split.items[:_STREAMS]))), subject.corpus.metric
        _measure(model, split.first(1), metric)  # the first time is that of a cold machine
        seconds = seconds_of(lambda: _measure(model, sample, metric), subject.device)
        return seconds * len(split.items) / len(sample.items)

    def __call__(self, trained: Trained) -> dict[str, Any]:
        """Of each the tally of the task: items right, items, targets right, targets."""
        return _measure(trained.model("best"), trained.corpus.splits[self.split], trained.record.metric)


def _measure(model: SequenceModel, split: Sequences, metric: Metric) -> dict[str, Any]:
    assert split.tally is not None
    pairs = zip(split.items, said(model, split), strict=True)
    own = [split.tally(target.tolist(), written) for target, written in pairs]
    return {"true": score(model, split, metric).tally, "own": [sum(entry) for entry in zip(*own, strict=True)]}
