"""What every data set becomes: three token streams over one vocabulary."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

EOS = "<eos>"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """A token stream of N tokens, stored with the ``<eos>`` that precedes its first token.

    ``ids`` has N + 1 entries; entry 0 is ``<eos>``. So every one of the N tokens has an input and is
    predicted exactly once, the first included::

        ids      <eos>  the  cat  sat  <eos>
        inputs   <eos>  the  cat  sat
        targets   the   cat  sat <eos>            N = 4
    """

    ids: np.ndarray

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


@dataclass(frozen=True)
class Corpus:
    """Train, valid and test of one data set.

    ``optimal_perplexity(split, k)`` is the exact perplexity that no model with k words of context can beat
    on that split (k = None: the whole past); None where it is unknown, as for every natural text.
    """

    name: str
    types: int
    splits: Mapping[str, Split]
    optimal_perplexity: Callable[[Split, int | None], float] | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 digits) of the token ids that a run really sees."""
        digest = hashlib.sha256()
        for name in SPLITS:
            ids = self.splits[name].ids
            digest.update(f"{name}:{len(ids)}:".encode())
            digest.update(np.ascontiguousarray(ids, dtype="<i4").data)
        return digest.hexdigest()[:16]
