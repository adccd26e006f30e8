"""Copy memory: digits, a long blank, and then the digits again (Hochreiter & Schmidhuber 1997).

Of T + 2 n positions the first n are digits 1 .. 8, drawn uniformly; then come T - 1 blanks 0, and a delimiter 9. The
targets are T + n blanks and then the n digits. Two forms are in use, which differ in what is read while the digits are
to be said:

- ``markers``: n + 1 times the 9, of which the first is the delimiter (Bai, Kolter & Koltun 2018);
- ``delimiter``: the 9 once and then n blanks, so a model has to keep that it saw it (Arjovsky, Shah & Bengio 2016).

The loss is the mean over all positions, as published. A model without memory knows when to say blanks, and of the
digits nothing: n ln 8 / (T + 2 n) nats a position. No sequence of digits of test or valid is in train.
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

FORMS = ("markers", "delimiter")
BLANK, DELIMITER = 0, 9
_DIGITS = 8  # 1 .. 8


class CopyMemory(Made):
    """Digits to be said again after a blank.

    Args:
        form: ``markers`` or ``delimiter``, see above.
        blanks: T.
        digits: n.
        name, seed, sequences, max_tokens: see ``Made``.

    Raises:
        ConfigurationError: a form or a size is none that the task has.
    """

    def __init__(
        self,
        name: str,
        form: str,
        blanks: int,
        digits: int,
        seed: int,
        sequences: Mapping[str, int],
        max_tokens: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(name, seed, sequences, max_tokens)
        if form not in FORMS:
            raise ConfigurationError(f"dataset.form={form} is unknown: choose {' or '.join(FORMS)}")
        if blanks < 1:
            raise ConfigurationError(f"dataset.blanks={blanks} must be a whole number >= 1")
        if not 1 <= digits <= 20:  # 8 ** 20 of them are numbers of 64 bits
            raise ConfigurationError(f"dataset.digits={digits} must be a whole number from 1 to 20")
        self.form = form
        self.blanks = blanks
        self.digits = digits

    @property
    def length(self) -> int:
        return self.blanks + 2 * self.digits

    @property
    def without_memory(self) -> float:
        """Loss in nats a position of the best model without memory."""
        return self.digits * math.log(_DIGITS) / self.length

    def load(self) -> SequenceTask:
        splits, held_out = {}, np.empty(0, dtype=np.int64)
        for split in reversed(SPLITS):  # train last: it has what the others have not
            codes = self._codes(split, held_out)
            held_out = np.union1d(held_out, codes)
            splits[split] = self._sequences(codes)
        splits = {split: splits[split] for split in SPLITS}
        interface = Interface(Inputs("finite", DELIMITER + 1), Outputs("categorical", DELIMITER + 1))
        baselines = {"blanks, and any digit": self.without_memory}
        return SequenceTask(self.name, interface, NATS_A_POSITION, splits, baselines=baselines)

    def _codes(self, split: str, others: np.ndarray) -> np.ndarray:
        """The digits of each sequence as a number of base 8, none of them among ``others``, (N,)."""
        generator, count = self.generator(split), self.count(split, self.length)
        if _DIGITS**self.digits < 2 * (count + len(others)):
            raise ConfigurationError(
                f"dataset.digits={self.digits}: there are only {_DIGITS**self.digits:,} such sequences of digits: "
                "choose more digits, or smaller dataset.sequences"
            )
        codes = np.empty(0, dtype=np.int64)
        while len(codes) < count:
            drawn = generator.integers(_DIGITS**self.digits, size=count - len(codes))
            codes = np.concatenate([codes, drawn[~np.isin(drawn, others)]])
        return codes

    def _sequences(self, codes: np.ndarray) -> Sequences:
        number, n = len(codes), self.digits
        digits = 1 + codes[:, None] // _DIGITS ** np.arange(n) % _DIGITS
        x, y = np.full((2, number, self.length), BLANK, dtype=np.int64)
        x[:, :n] = y[:, -n:] = digits
        x[:, -n - 1 :] = DELIMITER
        if self.form == "delimiter":
            x[:, -n:] = BLANK
        return Sequences(tuple(x), tuple(y), self._recalled)

    def _recalled(self, true: list[int], predicted: list[int]) -> tuple[int, int]:
        """Digits of a sequence that are said right, and how many there are."""
        pairs = list(zip(true, predicted, strict=True))[-self.digits :]
        return sum(one == other for one, other in pairs), len(pairs)
