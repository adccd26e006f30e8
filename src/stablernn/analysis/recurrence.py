"""analysis=recurrence: what the recurrent matrices of a trained model are worth: perplexity with them set to zero.

Without W_• an RNN knows one word, and an LSTM is a gated linear recurrence, c' = f ⊙ c + i ⊙ z with gates that see the
input alone: a model that needs no recurrent unit, whatever it was trained as. Nothing is trained again, so the other
weights are those that go with the missing ones: a model that is trained without them may well do better.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_split
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.certificates import certify
from stablernn.training.evaluate import score
from stablernn.training.trained import Trained
from stablernn.utils.console import open_bar
from stablernn.utils.errors import ConfigurationError, NotApplicableError
from stablernn.utils.timing import seconds_of

ALL = "W"
_SAMPLE = 2048  # words, to tell the time by


@dataclass(frozen=True)
class RecurrenceAnalysis:
    """Nats of a split as trained, without any recurrent matrix, and without each.

    Args:
        split: of the data.
        tokens: its first so many; None: all.
    """

    split: str = "test"
    tokens: int | None = None
    name: ClassVar[str] = "recurrence"
    needs: ClassVar[tuple[str, ...]] = ("cells",)

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.tokens is not None and self.tokens < 1:
            raise ConfigurationError(f"analysis.tokens={self.tokens} must be a whole number >= 1, or null for all")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by the time of scoring the first words."""
        model, split = subject.model("best"), subject.corpus.splits[self.split].first(self.tokens)
        sample = split.first(_SAMPLE)
        score(model, sample)
        once = seconds_of(lambda: score(model, sample), subject.device) * len(split) / len(sample)
        return once * (1 + len(list(_choices(model))))

    def __call__(self, trained: Trained) -> dict[str, Any]:
        model = trained.model("best")
        split = trained.corpus.splits[self.split].first(self.tokens)
        metric = trained.record.metric
        scored = {"as trained": score(model, split, metric).as_dict()}
        chosen = list(_choices(model))
        bar = open_bar(f"recurrence {trained.record.id}", len(chosen))
        rate = None
        for number, (name, blocks) in enumerate(chosen):
            bar.update(number)
            without = trained.model("best")
            silence(without, blocks)
            scored[name] = score(without, split, metric).as_dict()
            if name == ALL:
                certificate = certify(without)
                rate = certificate.rate if certificate.holds else None
        bar.close()
        return {"scored": scored, "rate_without": rate}


def _choices(model: SequenceModel) -> Iterator[tuple[str, Sequence[str]]]:
    """All matrices together, and each alone where there are several; layers of a stack go together."""
    names = list(model.cells[0].recurrent_blocks())
    if not names:
        raise NotApplicableError(f"not applicable: {type(model.cells[0]).__name__} has no recurrent matrices")
    yield ALL, names
    if len(names) > 1:
        yield from ((name, [name]) for name in names)


@torch.no_grad()
def silence(model: SequenceModel, blocks: Sequence[str]) -> None:
    """Set recurrent matrices of every cell to zero, in place, by their names (``Cell.recurrent_blocks``)."""
    for cell in model.cells:
        for name in blocks:
            cell.recurrent_blocks()[name].zero_()
