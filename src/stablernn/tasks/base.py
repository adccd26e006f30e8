"""What a task is to the rest: what a model reads and predicts, in which batches.

Axes: T time, B batch. An *item* is what is predicted and counted: a word, a character, a frame, a tag.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from stablernn.utils.errors import ConfigurationError


class Batch(NamedTuple):
    """What one update, or one step of scoring, is made of.

    Attributes:
        x: inputs, ids (T, B) or frames (T, B, E).
        y: targets, ids (T, B) or frames (T, B, outputs).
        reset: whether every stream begins here, from the initial state.
        mask: (T, B), True where there is an item; None: everywhere.
        lengths: (B,), inputs of each stream, what comes later being padding; None: there is none.
    """

    x: Tensor
    y: Tensor
    reset: bool = False
    mask: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def count(self) -> int:
        """Items to be predicted."""
        return count_items(self.y, self.mask)


def count_items(y: Tensor, mask: Tensor | None) -> int:
    """Items among targets (T, B, ...)."""
    return y.shape[0] * y.shape[1] if mask is None else int(mask.sum())


class Stretches(NamedTuple):
    """Pieces of a split side by side, for analyses.

    Attributes:
        x: inputs (T, B, ...).
        y: targets (T, B, ...).
        inside: (T, B), False before the first position of a piece's sequence: the state there is the initial one.
    """

    x: Tensor
    y: Tensor
    inside: Tensor


class Batches(Protocol):
    """The batches of a split, pass after pass.

    Attributes:
        items: of a batch, on average.
    """

    items: int

    def __len__(self) -> int:
        """Batches in one pass."""
        ...

    def batch(self, update: int) -> Batch:
        """The batch of an update, counted from 0 over all passes."""
        ...


@dataclass(frozen=True)
class Inputs:
    """What a model may see, for its input layer and for certificates.

    Attributes:
        kind: ``finite``, ids that are embedded; ``box``, vectors with entries in [low, high].
        size: number of ids, or of entries.
        begin: the id after which a target follows its source; None: there is none.
    """

    kind: str
    size: int
    low: float = 0.0
    high: float = 1.0
    begin: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("finite", "box"):
            raise ConfigurationError(f"inputs of the kind {self.kind!r:.40} are unknown: finite or box")
        if self.begin is not None and (self.kind != "finite" or not 0 <= self.begin < self.size):
            raise ConfigurationError(f"inputs.begin={self.begin!r:.40} is none of the ids of the inputs")


@dataclass(frozen=True)
class Outputs:
    """What a model predicts at every position.

    Attributes:
        kind: ``categorical``, one of ``size`` ids; ``bernoulli``, ``size`` switches, each on or off; ``real``, ``size``
            numbers.
    """

    kind: str
    size: int

    def __post_init__(self) -> None:
        if self.kind not in ("categorical", "bernoulli", "real"):
            raise ConfigurationError(
                f"outputs of the kind {self.kind!r:.40} are unknown: categorical, bernoulli or real"
            )


@dataclass(frozen=True)
class Interface:
    """What a model has to fit, and all that is needed to build one."""

    inputs: Inputs
    outputs: Outputs

    @classmethod
    def of_words(cls, types: int) -> "Interface":
        """Of a language model: V ids in, V ids out."""
        return cls(Inputs("finite", types), Outputs("categorical", types))

    @classmethod
    def of_record(cls, data: Mapping[str, Any]) -> "Interface":
        """From what a record says of its data; language models say ``types`` alone."""
        if "interface" not in data:
            return cls.of_words(data["types"])
        return cls(Inputs(**data["interface"]["inputs"]), Outputs(**data["interface"]["outputs"]))

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self)
        if self.inputs.begin is None:
            del values["inputs"]["begin"]
        return values


@runtime_checkable
class Generative(Protocol):
    """What a task has beside its contract where its models read what they predict, and so can generate."""

    def prompt(self, text: str | None) -> Tensor:
        """What a model reads before it generates, ids (T, 1) or frames (T, 1, E).

        Raises:
            ConfigurationError: ``text`` is none that the task can read.
        """
        ...
