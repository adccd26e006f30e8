"""Transduction: a source is read, and then its target is said (Sutskever, Vinyals & Le 2014, arXiv 1409.3215).

One sequence is the source, a begin mark, and the target by teacher forcing. The target and its end mark are items::

    inputs     s_1  ...  s_n  <begin>  t_1  ...  t_m
    scored                      t_1    t_2  ...  <end>

The forms are:

- ``reverse``: n letters, to be said backwards (Grefenstette et al. 2015, arXiv 1506.02516);
- ``sort``: n letters, to be said in the order of the alphabet;
- ``dates``: a date of 1950 to 2049 as people write it, "3 March 1998" or "03/03/98" (the day first), as 1998-03-03.

All letters are drawn uniformly, and so are n and the dates. So the best loss without the source is known. Of D dates it
is ln D a sequence. A target of letters has -ln P(target | n): backwards n ln A, in order n ln A - ln(n! / Π c_a!), as
so many sources have its counts c_a; and when it ends costs the logarithm of the number of lengths. The baselines are
exact for the test split. No source of test or valid is in train.
"""

import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor

from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.made import Made
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.tasks.splits import SPLITS
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import NATS_A_POSITION

FORMS = ("reverse", "sort", "dates")
END = 0
_FIRST = date(1950, 1, 1).toordinal()
DAYS = date(2050, 1, 1).toordinal() - _FIRST  # a hundred years, so that two digits name one
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WRITTEN = (  # of day d, month m with the name n, year y and its last two digits s
    "{d} {n} {y}",
    "{n} {d}, {y}",
    "{d} {n:.3} {s:02}",
    "{n:.3} {d} {y}",
    "{d:02}/{m:02}/{s:02}",
    "{d}.{m}.{y}",
)
_OF_ISO = "-" + string.digits
_OF_DATES = _OF_ISO + "".join(sorted({*" ,./", *"".join(_MONTHS)}))


@dataclass(frozen=True)
class Pairs(SequenceTask):
    """Sources with their targets.

    Attributes:
        characters: of the ids from 1 on; 0 is the end mark, and the id after them the begin mark.
    """

    characters: str = ""
    end: int = END

    def prompt(self, text: str | None) -> Tensor:
        """See ``tasks.base.Generative``: a source and the begin mark; for None the first source of test."""
        test = self.splits["test"]
        if text is None:
            return torch.from_numpy(test.inputs[0][: test.before(0) + 1])[:, None]
        if unknown := set(text) - set(self.characters):
            raise ConfigurationError(f"prompt: {min(unknown)!r} is none of the characters of {self.name}")
        ids = [*(1 + self.characters.index(one) for one in text), 1 + len(self.characters)]
        return torch.tensor(ids)[:, None]

    def text_of(self, ids: Tensor) -> str:
        """Ids (N,) as they are written, an arrow for the begin mark."""
        written = ["", *self.characters, " → "]
        return "".join(written[number] for number in ids.tolist())


class Transduction(Made):
    """Sources to be said in another way.

    Args:
        form: ``reverse``, ``sort`` or ``dates``, see above.
        letters: A.
        shortest, longest: range of n, both included.
        test_shortest, test_longest: that of test; None: as in train and valid.
        name, seed, sequences, max_tokens: see ``Made``; the numbers of letters are nothing to dates.

    Raises:
        ConfigurationError: a form or a size is none that the task has.
    """

    def __init__(
        self,
        name: str,
        form: str,
        letters: int,
        shortest: int,
        longest: int,
        seed: int,
        sequences: Mapping[str, int],
        test_shortest: int | None = None,
        test_longest: int | None = None,
        max_tokens: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(name, seed, sequences, max_tokens)
        if form not in FORMS:
            raise ConfigurationError(f"dataset.form={form} is unknown: choose {', '.join(FORMS)}")
        if not 2 <= letters <= len(string.ascii_lowercase):
            raise ConfigurationError(f"dataset.letters={letters} must be a whole number from 2 to 26")
        self.form = form
        self.letters = letters
        own = (
            shortest if test_shortest is None else test_shortest,
            longest if test_longest is None else test_longest,
        )
        self.lengths = {split: own if split == "test" else (shortest, longest) for split in SPLITS}
        for prefix, (low, high) in zip(("", "test_"), (self.lengths["train"], own), strict=True):
            if low < 1:
                raise ConfigurationError(f"dataset.{prefix}shortest={low} must be a whole number >= 1")
            if high < low:
                raise ConfigurationError(
                    f"dataset.{prefix}longest={high} must not be below dataset.{prefix}shortest={low}"
                )

    @property
    def characters(self) -> str:
        """Those that targets have come first."""
        return _OF_DATES if self.form == "dates" else string.ascii_lowercase[: self.letters]

    def load(self) -> Pairs:
        self._check_room()
        splits: dict[str, Sequences] = {}
        held_out: set[bytes] = set()
        baselines: dict[str, float] = {}
        for split in reversed(SPLITS):  # train last: it has what the others have not
            pairs = list(self._pairs(split, held_out))
            held_out.update(key for key, _, _ in pairs)
            splits[split] = self._sequences([(source, target) for _, source, target in pairs])
            if split == "test":
                baselines = self._baselines([target for _, _, target in pairs])
        size = 2 + len(self.characters)
        outputs = 1 + (len(_OF_ISO) if self.form == "dates" else self.letters)
        return Pairs(
            self.name,
            Interface(Inputs("finite", size, begin=size - 1), Outputs("categorical", outputs)),
            NATS_A_POSITION,
            {split: splits[split] for split in SPLITS},
            baselines=baselines,
            characters=self.characters,
        )

    def _check_room(self) -> None:
        there = DAYS if self.form == "dates" else self.letters ** self.lengths["train"][0]
        held_out = sum(self.count(split, self._shortest(split)) for split in ("valid", "test"))
        if there < 2 * held_out:
            remedy = "" if self.form == "dates" else " more dataset.letters, a larger dataset.shortest or"
            raise ConfigurationError(
                f"dataset.form={self.form}: there are only {there:,} of the shortest sources, too few for "
                f"{held_out:,} that train has not: choose{remedy} smaller dataset.sequences"
            )

    def _shortest(self, split: str) -> int:
        """Inputs of a short sequence."""
        return 20 if self.form == "dates" else 2 * self.lengths[split][0] + 1

    def _pairs(self, split: str, held_out: set[bytes]) -> Iterator[tuple[bytes, str, str]]:
        """Sources and targets of a split, each behind what tells it apart: that of no other split."""
        generator, missing = self.generator(split), self.count(split, self._shortest(split))
        while missing:
            key, source, target = self._date(generator) if self.form == "dates" else self._letters(generator, split)
            if key not in held_out:
                missing -= 1
                yield key, source, target

    def _letters(self, generator: np.random.Generator, split: str) -> tuple[bytes, str, str]:
        length = generator.integers(*self.lengths[split], endpoint=True)
        source = "".join(self.characters[place] for place in generator.integers(self.letters, size=length))
        return source.encode(), source, source[::-1] if self.form == "reverse" else "".join(sorted(source))

    def _date(self, generator: np.random.Generator) -> tuple[bytes, str, str]:
        day = date.fromordinal(_FIRST + int(generator.integers(DAYS)))
        form = _WRITTEN[generator.integers(len(_WRITTEN))]
        name = _MONTHS[day.month - 1]
        written = form.format(d=day.day, m=day.month, n=name, y=day.year, s=day.year % 100)
        return day.isoformat().encode(), written, day.isoformat()

    def _sequences(self, pairs: list[tuple[str, str]]) -> Sequences:
        ids = {one: number for number, one in enumerate(self.characters, 1)}
        begin = 1 + len(ids)
        inputs, targets = [], []
        for source, target in pairs:
            read, written = ([ids[one] for one in text] for text in (source, target))
            inputs.append(np.array([*read, begin, *written]))
            targets.append(np.array([END] * len(read) + [*written, END]))  # those of a source only fill the place
        return Sequences(tuple(inputs), tuple(targets), _right, tuple(len(target) + 1 for _, target in pairs))

    def _baselines(self, targets: list[str]) -> dict[str, float]:
        """Losses in nats an item of the best models that know nothing of a source, and nothing but its length."""
        items = sum(len(target) + 1 for target in targets)
        if self.form == "dates":
            return {"the source unread": len(targets) * math.log(DAYS) / items}
        of_letters = sum(self._nats(target) for target in targets)
        low, high = self.lengths["test"]
        of_ends = len(targets) * math.log(high - low + 1)
        return {
            "the source unread": (of_letters + of_ends) / items,
            "only the length of the source read": of_letters / items,
        }

    def _nats(self, target: str) -> float:
        """-ln P(target | its length)."""
        nats = len(target) * math.log(self.letters)
        if self.form == "sort":
            nats += sum(math.lgamma(1 + count) for count in Counter(target).values()) - math.lgamma(1 + len(target))
        return nats


def _right(true: list[int], predicted: list[int]) -> tuple[int, int, int, int]:
    """Items of a target that are right, and how many there are; whether all are, and 1 for the sequence."""
    right = sum(one == other for one, other in zip(true, predicted, strict=True))
    return right, len(true), int(right == len(true)), 1
