"""Selectivity: the first three of many letters, to be said once the letters end.

The input is n letters 1 .. A, drawn uniformly, and then three blanks 0; n is drawn uniformly from the lengths of the
task. While letters come the target is a blank, and at the blanks it is the first three letters. So a model must write
three letters and then none, however many follow, and it cannot count down to the end.

The loss is the mean over all positions. A model without memory sees where the blanks are and of the letters nothing, as
they are independent and uniform: 3 ln A nats a sequence, and so 3 ln A / (mean n + 3) nats a position. The baseline has
the mean n of the test split, and is exact for it.
"""

import math
from collections.abc import Mapping

import numpy as np

from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.made import Made
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.tasks.splits import SPLITS
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import NATS_A_POSITION

ANSWERS = 3  # letters to be said again
BLANK = 0


class Selectivity(Made):
    """The first three of many letters, said again at the end.

    Args:
        letters: A.
        shortest, longest: range of n, both included.
        name, seed, sequences, max_tokens: see ``Made``.

    Raises:
        ConfigurationError: a size is none that the task has.
    """

    def __init__(
        self,
        name: str,
        letters: int,
        shortest: int,
        longest: int,
        seed: int,
        sequences: Mapping[str, int],
        max_tokens: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(name, seed, sequences, max_tokens)
        if letters < 2:
            raise ConfigurationError(f"dataset.letters={letters} must be a whole number >= 2")
        if shortest < ANSWERS:
            raise ConfigurationError(f"dataset.shortest={shortest} must be a whole number >= {ANSWERS}")
        if longest < shortest:
            raise ConfigurationError(f"dataset.longest={longest} must not be below dataset.shortest={shortest}")
        self.letters = letters
        self.shortest = shortest
        self.longest = longest

    def load(self) -> SequenceTask:
        splits = {split: self._sequences(split) for split in SPLITS}
        interface = Interface(Inputs("finite", self.letters + 1), Outputs("categorical", self.letters + 1))
        test = splits["test"]
        baseline = ANSWERS * math.log(self.letters) * len(test.inputs) / len(test)
        baselines = {"blanks, and any letter": baseline}
        return SequenceTask(self.name, interface, NATS_A_POSITION, splits, baselines=baselines)

    def _sequences(self, split: str) -> Sequences:
        generator = self.generator(split)
        inputs, targets = [], []
        for _ in range(self.count(split, self.shortest + ANSWERS)):
            length = generator.integers(self.shortest, self.longest, endpoint=True)
            x, y = np.full((2, length + ANSWERS), BLANK, dtype=np.int64)
            x[:length] = generator.integers(1, self.letters, length, endpoint=True)
            y[length:] = x[:ANSWERS]
            inputs.append(x)
            targets.append(y)
        return Sequences(tuple(inputs), tuple(targets), _recalled)


def _recalled(true: list[int], predicted: list[int]) -> tuple[int, int]:
    """Letters of a sequence that are said right, and how many there are."""
    pairs = list(zip(true, predicted, strict=True))[-ANSWERS:]
    return sum(one == other for one, other in pairs), len(pairs)
