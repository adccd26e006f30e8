"""The adding problem: the sum of the two marked numbers among T (Hochreiter & Schmidhuber 1997).

An input is a number and its mark. The target is known after the last input, and is all that is scored, by its squared
error. Three forms are in use:

- ``anywhere``: numbers in [0, 1], two of T marked with a 1, whichever; their sum (code of Bai, Kolter & Koltun 2018);
- ``halves``: the same, with one mark in each half (Arjovsky, Shah & Bengio 2016; Le, Jaitly & Hinton 2015);
- ``hochreiter``: numbers in [-1, 1], T to T + T/10 of them; one of the first ten and another one of the first T/2 - 1
  are marked with a 1, the first input and the last with a -1, and the number of the first is 0 where it would be
  summed; 1/2 + (X1 + X2) / 4.

A model that knows nothing of the numbers says the mean, 1 or 1/2, at an error of 1/6, or 1/24 (a little less where X1
is 0 at times). The baseline is the best constant for the test targets: no constant that a model learns is better.
"""

from collections.abc import Mapping

import numpy as np

from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.made import Made
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.tasks.splits import SPLITS
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import SQUARED_ERROR

FORMS = ("anywhere", "halves", "hochreiter")
_FIRST = 10  # of the numbers that Hochreiter & Schmidhuber mark first
_SHORTEST = 24  # T / 2 - 1 exceeds it


class Adding(Made):
    """Two marked numbers to be added.

    Args:
        form: ``anywhere``, ``halves`` or ``hochreiter``, see above.
        length: T.
        name, seed, sequences, max_tokens: see ``Made``.

    Raises:
        ConfigurationError: a form or a size is none that the task has.
    """

    embeds = False  # the numbers go to the cell as they are

    def __init__(
        self,
        name: str,
        form: str,
        length: int,
        seed: int,
        sequences: Mapping[str, int],
        max_tokens: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(name, seed, sequences, max_tokens)
        if form not in FORMS:
            raise ConfigurationError(f"dataset.form={form} is unknown: choose {', '.join(FORMS)}")
        least = _SHORTEST if form == "hochreiter" else 2
        if length < least:
            raise ConfigurationError(f"dataset.length={length} must be a whole number >= {least} with form={form}")
        self.form = form
        self.length = length

    def load(self) -> SequenceTask:
        splits = {split: self._sequences(split) for split in SPLITS}
        interface = Interface(Inputs("box", 2, low=-1.0 if self.form == "hochreiter" else 0.0), Outputs("real", 1))
        targets = np.concatenate(splits["test"].items).astype(np.float64)
        baselines = {"the best constant": float(targets.var())}
        return SequenceTask(self.name, interface, SQUARED_ERROR, splits, baselines=baselines, whole=True)

    def _sequences(self, split: str) -> Sequences:
        generator = self.generator(split)
        drawn = _of_hochreiter if self.form == "hochreiter" else self._of_sums
        pairs = [drawn(generator, self.length) for _ in range(self.count(split, self.length))]
        targets = []
        for x, target in pairs:
            targets.append(np.zeros((len(x), 1), dtype=np.float32))
            targets[-1][-1] = target
        return Sequences(tuple(x for x, _ in pairs), tuple(targets), scored=1)

    def _of_sums(self, generator: np.random.Generator, length: int) -> tuple[np.ndarray, float]:
        """Numbers with their marks (T, 2), and the target."""
        x = np.zeros((length, 2), dtype=np.float32)
        x[:, 0] = generator.random(length, dtype=np.float32)
        if self.form == "halves":
            marked = np.array([generator.integers(length // 2), generator.integers(length // 2, length)])
        else:
            marked = generator.choice(length, 2, replace=False)
        x[marked, 1] = 1.0
        return x, float(x[marked, 0].sum())


def _of_hochreiter(generator: np.random.Generator, length: int) -> tuple[np.ndarray, float]:
    """Numbers with their marks (T .. T + T/10, 2), and the target."""
    x = np.zeros((generator.integers(length, length + length // 10, endpoint=True), 2), dtype=np.float32)
    x[:, 0] = generator.uniform(-1.0, 1.0, len(x))
    first = generator.integers(_FIRST)
    second = generator.integers(length // 2 - 2)
    second += second >= first  # of those that are not marked
    x[0, 1] = x[-1, 1] = -1.0
    for marked in (first, second):
        x[marked, 1] = 1.0
        if marked == 0:
            x[0] = 0.0, -1.0
    return x, float(0.5 + (x[first, 0] + x[second, 0]) / 4)
