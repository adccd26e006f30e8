"""What tasks of sequences that are made from a seed have in common: sizes of splits, a generator for each."""

from collections.abc import Mapping

import numpy as np

from stablernn.tasks.published import PUBLISHED
from stablernn.tasks.splits import SPLITS, check_lengths, check_splits
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.names import is_name


class Made:
    """Sequences from a seed of their own, which is not that of a run.

    Args:
        name: what tables call it.
        seed: of the sequences.
        sequences: number of them in each split.
        max_tokens: use only as many sequences of a split as hold so many inputs; None: all.

    Raises:
        ConfigurationError: a name that no table can have, or a size that no split can.
    """

    def __init__(
        self, name: str, seed: int, sequences: Mapping[str, int], max_tokens: Mapping[str, int | None] | None
    ) -> None:
        if not is_name(name):
            raise ConfigurationError(f"dataset.name={name} must be a word of letters, digits, - and _")
        if name in PUBLISHED:
            raise ConfigurationError(f"dataset.name={name} is for {PUBLISHED[name].title} alone: choose another name")
        if seed < 0:
            raise ConfigurationError(f"dataset.seed={seed} must be a whole number >= 0")
        check_splits("dataset.sequences", sequences)
        for split in SPLITS:
            count = sequences.get(split)
            if type(count) is not int or count < 1:
                raise ConfigurationError(f"dataset.sequences.{split}={count} must be a whole number >= 1")
        check_lengths(max_tokens or {})
        self.name = name
        self.seed = seed
        self.sequences = dict(sequences)
        self.max_tokens = dict(max_tokens or {})

    def generator(self, split: str) -> np.random.Generator:
        """Of one split: the others, and their sizes, do not matter to it."""
        return np.random.default_rng([self.seed, SPLITS.index(split)])

    def count(self, split: str, length: int) -> int:
        """Sequences of about ``length`` inputs in a split."""
        most = self.max_tokens.get(split)
        return self.sequences[split] if most is None else min(self.sequences[split], -(-most // length))
