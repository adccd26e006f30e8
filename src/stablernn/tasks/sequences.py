"""Tasks of many sequences of their own length, each from the zero state: music, sentences."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stablernn.tasks.base import Batch, Interface, Stretches
from stablernn.tasks.splits import SPLITS, smaller_horizon
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

_SEED = 1805  # of the order of the sequences, which no run's seed changes: its updates can be compared


@dataclass(frozen=True)
class Sequences:
    """N sequences: inputs and targets of T_n positions each, ids (T_n,) or frames (T_n, E).

    ``tally`` counts what a metric needs beside the loss, from the targets of a sequence and the most probable outputs;
    None where the loss is all. ``scored``: so many positions at the end of each sequence are items, one number for all
    or one for each; None: all are.
    """

    inputs: tuple[np.ndarray, ...]
    targets: tuple[np.ndarray, ...]
    tally: Callable[[list[int], list[int]], tuple[int, ...]] | None = None
    scored: int | tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Items, of all sequences together."""
        return self.room(0)

    def room(self, horizon: int, either_side: bool = False) -> int:
        """Items that have ``horizon`` inputs of their own sequence before them, or as many before or behind."""

        def without(length: int, first: int) -> int:
            begin = max(first, length - horizon) if either_side else first
            return max(0, min(horizon, length) - begin)

        sizes = [(len(y), self.before(number)) for number, y in enumerate(self.targets)]
        return sum(length - first - without(length, first) for length, first in sizes)

    def before(self, number: int) -> int:
        """Positions of a sequence, counted from 0, that come before its first item."""
        if self.scored is None:
            return 0
        scored = self.scored if isinstance(self.scored, int) else self.scored[number]
        return max(0, len(self.targets[number]) - scored)

    @property
    def items(self) -> tuple[np.ndarray, ...]:
        """The targets that are scored, of each sequence."""
        return tuple(y[self.before(n) :] for n, y in enumerate(self.targets))

    @property
    def longest(self) -> int:
        return max(map(len, self.targets))

    def first(self, items: int | None, cut: bool = False) -> "Sequences":
        """As many sequences from the beginning as hold ``items`` (all for None), the last one whole or ``cut``."""
        if items is None:
            return self
        counts = [len(target) for target in self.items]
        ends = np.cumsum(counts)
        number = 1 + int(np.searchsorted(ends, items))
        inputs, targets = list(self.inputs[:number]), list(self.targets[:number])
        scored = self.scored[:number] if isinstance(self.scored, tuple) else self.scored
        if cut and number <= len(counts) and (beyond := int(ends[number - 1]) - items) > 0:
            inputs[-1], targets[-1] = inputs[-1][:-beyond], targets[-1][:-beyond]
            scored = None if scored is None else (*counts[: number - 1], counts[number - 1] - beyond)
        return replace(self, inputs=tuple(inputs), targets=tuple(targets), scored=scored)

    def ending(self, number: int, horizon: int, lead: int) -> Stretches:
        """As ``Split.ending``: every position has ``horizon`` inputs of its own sequence before it, and of the ``lead``
        before these as many as there are."""
        ends = [(n, end) for n, y in enumerate(self.targets) for end in range(max(horizon, self.before(n)), len(y))]
        if len(ends) < number:
            fits = (h for h in range(self.longest - 1, 0, -1) if self.room(h) >= number)
            raise ConfigurationError(
                f"analysis.horizon={horizon}: the split has {counted(len(ends), 'position')} with so many inputs of "
                f"the same sequence before them, and analysis.streams={number} needs as many positions: "
                f"{smaller_horizon(next(fits, 0))}"
            )
        chosen = [ends[place] for place in np.arange(number) * len(ends) // number]
        return self._stretches([(n, end - horizon - lead) for n, end in chosen], lead + horizon + 1)

    def reach(self, number: int, lead: int) -> int:
        """The largest horizon of ``ending`` that a quarter of the items has before it, so that not only the longest
        sequences count; ``lead`` takes what there is."""
        least = max(number, len(self) // 4)
        return next((horizon for horizon in range(self.longest - 1, 0, -1) if self.room(horizon) >= least), 0)

    def room_beside(self, number: int) -> int:
        """As ``Split.room_beside``, of the longest sequences."""
        return sorted((len(target) for target in self.targets), reverse=True)[min(number, len(self.targets)) - 1]

    def beside(self, number: int, least: int, most: int) -> Stretches:
        """As ``Split.beside``: the beginnings of the ``number`` longest sequences, all of one length."""
        longest = sorted(range(len(self.targets)), key=lambda n: -len(self.targets[n]))[:number]
        length = min(most, *(len(self.targets[n]) for n in longest))
        if len(longest) < number or length < least:
            enough = sum(len(y) >= least for y in self.targets)
            raise ConfigurationError(
                f"analysis.streams={number}: the split has {counted(enough, 'sequence')} of at least "
                f"{counted(least, 'position')}: fewer streams, or a smaller lead or longest"
            )
        return self._stretches([(n, 0) for n in longest], length)

    def _stretches(self, begins: Sequence[tuple[int, int]], length: int) -> Stretches:
        """The positions begin .. begin + length - 1 of sequences n; those before the first repeat it."""
        positions = np.arange(length)[:, None] + [begin for _, begin in begins]
        pieces = list(zip((n for n, _ in begins), positions.clip(0).T, strict=True))
        x, y = (
            torch.stack([_tensor(side[n][chosen]) for n, chosen in pieces], dim=1)
            for side in (self.inputs, self.targets)
        )
        return Stretches(x, y, torch.from_numpy(positions >= 0))

    def __iter__(self) -> Iterator[Batch]:
        """Each sequence alone, as it is scored."""
        for n, (x, y) in enumerate(zip(self.inputs, self.targets, strict=True)):
            mask = None if self.scored is None else torch.arange(len(y))[:, None] >= self.before(n)
            yield Batch(_tensor(x)[:, None], _tensor(y)[:, None], reset=True, mask=mask)


class SequenceBatches:
    """Whole sequences in batches, padded at their ends; every pass in another order, which depends on nothing else.

    Args:
        split: of N sequences.
        batch: sequences an update; the last batch of a pass may have fewer.
        device: where the batches are wanted.
    """

    def __init__(self, split: Sequences, batch: int, device: torch.device | str = "cpu") -> None:
        self.split = split
        self.size = batch
        self.device = device
        self.items = max(1, len(split) // len(self))

    def __len__(self) -> int:
        return -(-len(self.split.targets) // self.size)

    def batch(self, update: int) -> Batch:
        epoch, number = divmod(update, len(self))
        order = np.random.default_rng([_SEED, epoch]).permutation(len(self.split.targets))
        chosen = order[number * self.size : (number + 1) * self.size]
        x, y = ([_tensor(side[n]) for n in chosen] for side in (self.split.inputs, self.split.targets))
        lengths = torch.tensor([len(sequence) for sequence in y])
        begins = torch.tensor([self.split.before(n) for n in chosen])
        positions = torch.arange(int(lengths.max()))[:, None]
        mask = (positions >= begins) & (positions < lengths)
        padded = (torch.nn.utils.rnn.pad_sequence(side) for side in (x, y))
        mask, lengths = mask.to(self.device), lengths.to(self.device)
        return Batch(*(side.to(self.device) for side in padded), reset=True, mask=mask, lengths=lengths)


def _tensor(values: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(values)
    return tensor.float() if tensor.dim() > 1 else tensor.long()


@dataclass(frozen=True)
class SequenceTask:
    """Train, valid and test of one data set of sequences.

    Attributes:
        text: the fingerprint of all that was read.
        baselines: test scores of models that know next to nothing of the past, by name; the best one is what a model
            has to beat. Empty: the report knows them by the name of the data, or nobody does.
        whole: whether all of a sequence is there before its first answer, so that a model may read ahead.
    """

    name: str
    interface: Interface
    metric: Metric
    splits: Mapping[str, Sequences]
    text: str | None = None
    recognised: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False
    source: None = None
    fixed_shapes: bool = False

    @property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 digits) of the sequences that a run really sees."""
        return fingerprint(self.splits)

    def batches(self, split: str, batch: int, window: int, device: torch.device | str = "cpu") -> SequenceBatches:
        """Batches of whole sequences, whatever the window."""
        return SequenceBatches(self.splits[split], batch, device)

    def check_window(self, window: int) -> None:
        """Raises ConfigurationError where a recurrent model would be cut within a sequence."""
        longest = self.splits["train"].longest
        if window < longest:
            raise ConfigurationError(
                f"{self.name}: sequences are trained on whole, and the longest has {counted(longest, 'position')}: "
                f"choose truncation.k={longest} or more, or (of a stack of cells) approximation=feedforward"
            )

    def description(self) -> dict[str, Any]:
        """What a record says of the data."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "metric": self.metric.name,
            "interface": self.interface.as_dict(),
            "tokens": {name: len(split) for name, split in self.splits.items()},
            "sequences": {name: len(split.targets) for name, split in self.splits.items()},
        } | ({"baselines": dict(self.baselines)} if self.baselines else {})


def fingerprint(splits: Mapping[str, Sequences]) -> str:
    digest = hashlib.sha256()
    for name in SPLITS:
        if splits[name].scored is not None:
            digest.update(f"{name}:scored:{splits[name].scored}:".encode())
        for values in (*splits[name].inputs, *splits[name].targets):
            digest.update(f"{name}:{values.shape}:".encode())
            digest.update(np.ascontiguousarray(values, dtype="<f4" if values.dtype.kind == "f" else "<i4").data)
    return digest.hexdigest()[:16]
