"""analysis=exposure: how far a model departs that reads its own outputs, after a prefix of true inputs.

In training by teacher forcing a model only ever sees true inputs, and when it runs by itself only its own. Here it
reads a true prefix and then what it draws, and after j of its own outputs three losses are compared, each of the same
positions of the data:

- ``true``: of the data, had all inputs been true;
- ``own``: of the data, after j own outputs;
- ``drawn``: of what it draws itself, after j own outputs (cf. Braverman et al. 2020, 1906.05664).

Also of the law of the data itself ``own`` is above ``true``, by what the last j items say of the next: a continuation
that is drawn is another one than that of the data. So ``own`` is for comparing models that were trained in different
ways. ``drawn`` has a value by itself: of the law of the data its mean is that of ``true`` at every j, and what it
gains or loses with j is departure.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_least, check_split
from stablernn.models.sequence_model import SequenceModel
from stablernn.tasks.base import Generative
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.tasks.transduction import Pairs
from stablernn.training.trained import Trained
from stablernn.utils.console import open_bar
from stablernn.utils.errors import NotApplicableError
from stablernn.utils.timing import seconds_of

STAGES = ("best", "last")


@dataclass(frozen=True)
class FreeRun:
    """Mean losses in nats an item after j = 0 .. n own outputs, (n + 1,) each; see above."""

    true: list[float]
    own: list[float]
    drawn: list[float]


@torch.no_grad()
def free_run(
    model: SequenceModel, split: Split | Sequences, prefix: int, horizon: int, streams: int, samples: int, seed: int = 0
) -> FreeRun:
    """Let a model in evaluation mode run by itself after prefixes from a split.

    Args:
        model: reads what it predicts.
        split: of the data; pieces of sequences begin where these do, and those of a text from the zero state.
        prefix: true inputs.
        horizon: n.
        streams: pieces of the split.
        samples: continuations of each.
        seed: of the draws.

    Raises:
        ConfigurationError: the split has not so many pieces of this length.
    """
    length = prefix + horizon
    pieces = split.beside(streams, length, length)
    x, y = (side.to(model.device).repeat_interleave(samples, dim=1) for side in (pieces.x, pieces.y))
    generator = torch.Generator(model.device).manual_seed(seed)
    state, losses = model.initial_state(x.shape[1]), model.objective.losses
    features, _ = model(x, state)
    true = losses(features[prefix - 1 :], y[prefix - 1 :]).double().mean(1)
    own, drawn = [], []
    read = x[:prefix]
    for target in y[prefix - 1 :]:
        features, state = model(read, state)
        items = model.objective.draw(features[-1], generator)
        own.append(losses(features[-1], target).double().mean())
        drawn.append(losses(features[-1], items).double().mean())
        read = items[None]
    return FreeRun(true.tolist(), torch.stack(own).tolist(), torch.stack(drawn).tolist())


@dataclass(frozen=True)
class ExposureAnalysis:
    """Losses with own outputs fed back, at the best evaluation and at the end.

    Args:
        split, prefix, horizon, streams, samples, seed: see ``free_run``.
    """

    split: str = "test"
    prefix: int = 16
    horizon: int = 32
    streams: int = 50
    samples: int = 16
    seed: int = 0
    name: ClassVar[str] = "exposure"
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least(self, prefix=1, horizon=1, streams=1, samples=1, seed=0)

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, trained: Trained) -> None:
        """Raises NotApplicableError where models do not read what they predict."""
        if not isinstance(trained.corpus, Generative):
            raise NotApplicableError(
                f"not applicable: models of {trained.corpus.name} do not read what they predict, so none runs by itself"
            )
        if isinstance(trained.corpus, Pairs):
            raise NotApplicableError(
                f"not applicable: of {trained.corpus.name} only targets are predicted: choose analysis=free_running"
            )

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by the time of a few own outputs."""
        model, split = subject.model("best"), subject.corpus.splits[self.split]
        few = min(self.horizon, 4)
        self._measure(model, split, few)  # the first is that of a cold machine
        return len(STAGES) * seconds_of(lambda: self._measure(model, split, few), subject.device) * self.horizon / few

    def __call__(self, trained: Trained) -> dict[str, Any]:
        progress = trained.record.progress
        updates = {"best": progress["best_update"], "last": progress["updates"]}
        bar = open_bar(f"exposure {trained.record.id}", len(updates))
        found: dict[int, dict[str, Any]] = {}  # the best may be the last
        for number, (stage, update) in enumerate(updates.items()):
            bar.update(number)
            if update not in found:
                found[update] = self._measure(trained.model(stage), trained.corpus.splits[self.split], self.horizon)
        bar.close()
        return {"stages": {stage: found[update] for stage, update in updates.items()}}

    def _measure(self, model: SequenceModel, split: Split | Sequences, horizon: int) -> dict[str, Any]:
        return asdict(free_run(model, split, self.prefix, horizon, self.streams, self.samples, self.seed))
