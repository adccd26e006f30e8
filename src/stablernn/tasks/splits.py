"""What every data set becomes: three token streams over one vocabulary."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from stablernn.tasks.base import Batches, Interface, Stretches
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import PERPLEXITY, Metric
from stablernn.utils.wording import counted

if TYPE_CHECKING:
    from stablernn.tasks.windows import Windows

EOS, UNKNOWN = "<eos>", "<unk>"
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
    check_splits("dataset.max_tokens", max_tokens)
    for split in SPLITS:
        count = max_tokens.get(split)
        if (count is None and needed) or (count is not None and (type(count) is not int or count < 1)):
            rest = "" if needed else ", or null for all of the split"
            raise ConfigurationError(f"dataset.max_tokens.{split}={count} must be a whole number >= 1{rest}")


def check_splits(option: str, values: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where an option of the splits has an entry for none of them."""
    if other := [name for name in values if name not in SPLITS]:
        raise ConfigurationError(f"{option}.{other[0]} is not an option: choose of {', '.join(SPLITS)}")


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

    def room(self, horizon: int) -> int:
        """Positions that have ``horizon`` inputs before them."""
        return max(0, len(self) - horizon)

    def ending(self, number: int, horizon: int, lead: int) -> Stretches:
        """Pieces that end at ``number`` positions spread evenly, each with ``lead + horizon`` inputs before its last.

        Raises:
            ConfigurationError: the split has fewer such positions.
        """
        reach = lead + horizon + 1
        room = len(self) - reach + 1
        if room < number:
            raise ConfigurationError(
                f"analysis.horizon={horizon}: with analysis.lead={lead} and analysis.streams={number} it needs "
                f"{number + reach - 1:,} positions, and the split has {len(self):,}: "
                f"{smaller_horizon(horizon + room - number)}"
            )
        ends = reach - 1 + np.arange(number) * room // number
        return self._stretches(np.arange(1 - reach, 1)[:, None] + ends)

    def reach(self, number: int, lead: int) -> int:
        """The largest horizon of ``ending``."""
        return len(self) - lead - number

    def room_beside(self, number: int) -> int:
        """The length of ``number`` pieces of ``beside``, as long as fit."""
        return len(self) // number

    def beside(self, number: int, least: int, most: int) -> Stretches:
        """``number`` pieces that follow one another, as long as fit, ``most`` positions at most.

        Raises:
            ConfigurationError: they would have fewer than ``least``.
        """
        length = min(most, len(self) // number)
        if length < least:
            raise ConfigurationError(
                f"analysis.streams={number}: stretches of {counted(least, 'input')} need {number * least:,} of them, "
                f"and the split has {len(self):,}: fewer streams, or a smaller lead or longest"
            )
        return self._stretches(np.arange(length)[:, None] + length * np.arange(number))

    def _stretches(self, positions: np.ndarray) -> Stretches:
        x, y = (torch.from_numpy(side[positions].astype("int64")) for side in (self.inputs, self.targets))
        return Stretches(x, y, torch.ones(x.shape, dtype=torch.bool))


def smaller_horizon(largest: int) -> str:
    """The remedy for a horizon that is too large, by the largest that would fit; an analysis takes none below 2."""
    return f"choose analysis.horizon={largest} or less, or fewer streams" if largest >= 2 else "choose fewer streams"


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
    recognised (``tasks.published``); None and empty for a corpus that is made from its options. ``vocabulary`` is a
    file with a type a line in the order of ids; None where types have no names. ``separator`` stands between two types
    in a text.
    """

    name: str
    types: int
    splits: Mapping[str, Split]
    source: Source | None = None
    text: str | None = None
    recognised: Mapping[str, str] = field(default_factory=dict)
    metric: Metric = PERPLEXITY
    vocabulary: Path | None = None
    separator: str = " "
    fixed_shapes: ClassVar[bool] = True  # of its batches, but for the last one of a pass
    whole: ClassVar[bool] = False

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

    @property
    def interface(self) -> Interface:
        return Interface.of_words(self.types)

    def batches(self, split: str, batch: int, window: int, device: torch.device | str = "cpu") -> "Windows":
        """A split in ``batch`` streams; the other arguments are those of ``Windows``."""
        from stablernn.tasks.windows import Windows

        return Windows(self.splits[split], batch, window, device)

    def check_window(self, window: int) -> None:
        """A text can be cut into windows of any length."""

    def description(self) -> dict[str, Any]:
        """What a record says of the data."""
        known: dict[str, Any] = {"text": self.text, "recognised": dict(self.recognised)} if self.text else {}
        if self.metric is not PERPLEXITY:
            known["metric"] = self.metric.name
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "types": self.types,
            "tokens": {name: len(split) for name, split in self.splits.items()},
        } | known

    def _names(self) -> list[str]:
        if self.vocabulary is None:
            return list(map(str, range(self.types)))
        return self.vocabulary.read_text(encoding="utf-8").split("\n")[: self.types]

    def prompt(self, text: str | None) -> torch.Tensor:
        """See ``tasks.base.Generative``: lines of text, behind the ``<eos>`` with which every text begins."""
        index = {name: number for number, name in enumerate(self._names())}
        eos = index.get(EOS, 0)
        ids: list[int] = []
        for line in (text or "").split("\n"):
            ids.append(eos)
            for token in line.split() if self.separator else line:
                if token not in index:
                    known = f"the {counted(self.types, self.metric.one)} of {self.name}"
                    other = UNKNOWN if UNKNOWN in index else "another"
                    raise ConfigurationError(f"prompt: {token!r:.60} is not among {known}: write {other} in its place")
                ids.append(index[token])
        return torch.tensor(ids)[:, None]

    def text_of(self, ids: torch.Tensor) -> str:
        """Ids (N,) as they are written, a line end for each ``<eos>``."""
        names = self._names()
        eos = names.index(EOS) if EOS in names else 0
        lines: list[list[str]] = [[]]
        for number in ids.tolist():
            if number == eos:
                lines.append([])
            else:
                lines[-1].append(names[number])
        return "\n".join(map(self.separator.join, lines))

    def frequencies(self) -> np.ndarray:
        """How often each type comes in the train split, (V,)."""
        counts = np.zeros(self.types, dtype=np.int64)
        targets = self.splits["train"].targets
        for begin in range(0, len(targets), _IDS_A_BLOCK):
            counts += np.bincount(targets[begin : begin + _IDS_A_BLOCK], minlength=self.types)
        return counts


class Task(Protocol):
    """A data set as a model meets it: ``tasks.base`` has the parts.

    Attributes:
        name: what tables call it.
        splits: train, valid and test; the length of each is its number of items.
        metric: how it is scored.
        interface: what a model has to fit.
        source: the law that it was drawn from, where that is known.
        fixed_shapes: whether batches are of one shape, as a CUDA graph needs it.
        whole: whether all of a sequence is there before its first answer, so that a model may read ahead; a task that
            does not say so has none that is.
        fingerprint: of the items that a run really sees.
    """

    @property
    def name(self) -> str: ...
    @property
    def splits(self) -> Mapping[str, Any]: ...
    @property
    def metric(self) -> Metric: ...
    @property
    def interface(self) -> Interface: ...
    @property
    def source(self) -> Source | None: ...
    @property
    def fixed_shapes(self) -> bool: ...
    @property
    def fingerprint(self) -> str: ...

    def batches(self, split: str, batch: int, window: int, device: torch.device | str = "cpu") -> Batches:
        """The batches of training.

        Args:
            split: of the data.
            batch: streams, or sequences, an update.
            window: steps an update, where a stream is longer.
            device: where they are wanted.
        """
        ...

    def check_window(self, window: int) -> None:
        """Raises ConfigurationError where a recurrent model cannot be trained in windows of so many steps."""
        ...

    def description(self) -> dict[str, Any]:
        """What a record says of the data."""
        ...


@runtime_checkable
class DataSet(Protocol):
    """What ``dataset=`` chooses."""

    def load(self) -> Task: ...
