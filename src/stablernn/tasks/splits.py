"""What every data set becomes: three token streams over one vocabulary."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from stablernn.utils.errors import ConfigurationError

EOS = "<eos>"
SPLITS = ("train", "valid", "test")
_IDS_A_BLOCK = 1 << 20


def check_lengths(max_tokens: Mapping[str, int | None], needed: bool = False) -> None:
    """Refuse lengths of splits that hold no text.

    Args:
        max_tokens: a length for each split; None: all of it.
        needed: whether every split must have one.

    Raises:
        ConfigurationError: names the split.
    """
    for split in SPLITS:
        count = max_tokens.get(split)
        if (count is None and needed) or (count is not None and (type(count) is not int or count < 1)):
            rest = "" if needed else ", or null for all of the split"
            raise ConfigurationError(f"dataset.max_tokens.{split}={count} must be a whole number of words >= 1{rest}")


@dataclass(frozen=True)
class Split:
    """A token stream of N tokens, stored with the ``<eos>`` that precedes its first token.

    ``ids`` has N + 1 entries; entry 0 is ``<eos>``. So every one of the N tokens has an input and is
    predicted exactly once, the first included::

        ids      <eos>  the  cat  sat  <eos>
        inputs   <eos>  the  cat  sat
        targets   the   cat  sat <eos>            N = 4
    """

    ids: np.ndarray  # of any integer type

    def __len__(self) -> int:
        return len(self.ids) - 1

    @property
    def inputs(self) -> np.ndarray:
        return self.ids[:-1]

    @property
    def targets(self) -> np.ndarray:
        return self.ids[1:]

    def first(self, tokens: int | None) -> "Split":
        """The first ``tokens`` tokens (all of them for None)."""
        return self if tokens is None else Split(self.ids[: tokens + 1])


class Source(Protocol):
    """A law of text whose best predictor is known."""

    def perplexity(self, split: Split, k: int | None) -> float:
        """The perplexity on the split that no model with k words of context (None: all before) can beat on average."""
        ...

    def perplexities(self, split: Split, k: int) -> list[float]:
        """``perplexity`` for contexts of 1, 2, ..., k words."""
        ...


@dataclass(frozen=True)
class Corpus:
    """Train, valid and test of one data set.

    ``source`` is the law that the text was drawn from, which knows the best perplexity for every context
    length; None where nobody knows it, as for every natural text. ``text`` is the fingerprint of all that was read, the
    words beyond ``max_tokens`` included, and ``recognised`` says for each split of a published text by what it was
    recognised (``tasks.published``); None and empty for a corpus that is made from its options.
    """

    name: str
    types: int
    splits: Mapping[str, Split]
    source: Source | None = None
    text: str | None = None
    recognised: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 digits) of the token ids that a run really sees."""
        digest = hashlib.sha256()
        for name in SPLITS:
            ids = self.splits[name].ids
            digest.update(f"{name}:{len(ids)}:".encode())
            for begin in range(0, len(ids), _IDS_A_BLOCK):  # a memory-mapped text may be larger than the memory
                digest.update(np.ascontiguousarray(ids[begin : begin + _IDS_A_BLOCK], dtype="<i4").data)
        return digest.hexdigest()[:16]

    def frequencies(self) -> np.ndarray:
        """How often each type comes in the train split, (V,)."""
        counts = np.zeros(self.types, dtype=np.int64)
        targets = self.splits["train"].targets
        for begin in range(0, len(targets), _IDS_A_BLOCK):
            counts += np.bincount(targets[begin : begin + _IDS_A_BLOCK], minlength=self.types)
        return counts


@runtime_checkable
class DataSet(Protocol):
    """What ``dataset=`` chooses."""

    def load(self) -> Corpus: ...
