"""One output at the end: how many slots a sentence has, read word by word and said after the last word.

The sentences are those of ``tasks.slots``, with the same unknown words and the same valid. Only the last position of a
sentence is an item, and its target is the number of chunks, ``most`` standing for that and above. A model has to carry
a count through the sentence; a bag of words knows much of it too, but not where one chunk ends and the next begins. The
score is the share of sentences that are right; models train on the likelihood. The baseline says the most frequent
number of train, whatever the sentence.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from stablernn.tasks.base import Interface, Outputs
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.tasks.slots import PUBLISHED, SlotFilling
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import ACCURACY


class SlotCount(SlotFilling):
    """The number of slots of each sentence.

    Args:
        most: the largest number; sentences with more count as it.
        others: see ``SlotFilling``, without ``delay``: all words are read before the answer.

    Raises:
        ConfigurationError: as ``SlotFilling``, or ``most`` is no number of classes.
    """

    published: ClassVar[Mapping[str, str]] = {"atis_count": PUBLISHED["atis"]}
    own: ClassVar[str] = "atis_count"

    def __init__(
        self,
        name: str,
        path: str | None,
        folder: str,
        file_names: Mapping[str, str | None],
        most: int,
        digits: bool = True,
        min_count: int = 2,
        max_tokens: Mapping[str, int | None] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(name, path, folder, file_names, digits, min_count, 0, max_tokens, fingerprint)
        if most < 1:
            raise ConfigurationError(f"dataset.most={most} must be a whole number >= 1")
        self.most = most

    def read(self) -> SequenceTask:
        task = super().read()
        splits = {name: self._counted(split) for name, split in task.splits.items()}
        answers = {name: [int(y[-1]) for y in split.targets] for name, split in splits.items()}
        ((usual, _),) = Counter(answers["train"]).most_common(1)
        share = 100 * answers["test"].count(usual) / len(answers["test"])
        return replace(
            task,
            interface=Interface(task.interface.inputs, Outputs("categorical", self.most + 1)),
            metric=ACCURACY,
            splits=splits,
            baselines={"most frequent number": share},
        )

    def _counted(self, split: Sequences) -> Sequences:
        assert split.tally is not None
        targets = []
        for y in split.targets:
            _, _, chunks = split.tally(y.tolist(), y.tolist())
            targets.append(np.full(len(y), min(chunks, self.most), np.int64))
        return Sequences(split.inputs, tuple(targets), _right, scored=1)


def _right(true: list[int], predicted: list[int]) -> tuple[int, int]:
    return sum(one == other for one, other in zip(true, predicted, strict=True)), len(true)
