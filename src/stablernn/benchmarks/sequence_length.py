"""Recurrent against feed-forward, by the length of the sequence (claim C8): tokens a second in training and scoring.

The two differ in the hidden states alone, embedding and softmax are the same. So the states are timed (with the
embedding, and in training with their gradient from a given one of the features), and the softmax's time a token is
measured beside them, from which the ratio of whole models follows. In training the recurrent model goes back through
all of the sequence and keeps what that needs; the feed-forward one takes the sequence in pieces, which changes nothing
in its gradient, as no position depends on another's state.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from stablernn.benchmarks.measured import alternate, extra_memory, medians
from stablernn.benchmarks.step import TYPES, cell_of
from stablernn.models.backbone import CellStack
from stablernn.models.cells.base import Cell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel, build_language_model
from stablernn.utils.timing import seconds_of

_ROWS_A_PIECE = {"cpu": 4096, "cuda": 65536}  # positions times streams that a feed-forward model takes at once
_MEMORY_AT = 1000  # steps at which memory is measured


@dataclass(frozen=True)
class Length:
    """One sequence length: ``work`` is ``training`` or ``scoring``."""

    model: str
    work: str
    size: int
    batch: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.model}-{self.work}-d{self.size}-b{self.batch}-t{self.steps}"

    @property
    def softmax(self) -> str:
        """The name of what all lengths share."""
        return f"{self.model}-{self.work}-d{self.size}"

    @property
    def tokens(self) -> int:
        return self.batch * self.steps


@dataclass(frozen=True)
class Limits:
    """What a single measurement may take: ``seconds`` a case, ``longest`` a run of one rival, ``memory`` in bytes."""

    seconds: float
    longest: float
    memory: float


def sequence_cases(models: Sequence[str], size: int, batches: Sequence[int], steps: Sequence[int]) -> list[Length]:
    """Every combination, short sequences first: their times tell which longer ones would take too long."""
    return [
        Length(model, work, size, batch, length)
        for length, batch, model, work in itertools.product(sorted(steps), batches, models, ("scoring", "training"))
    ]


def expected_seconds(case: Length, known: dict[str, Any]) -> dict[str, float]:
    """Seconds that each rival needs, from the longest sequence measured of its kind."""
    alike = [
        other
        for other in known.values()
        if all(other[key] == getattr(case, key) for key in ("model", "work", "size", "batch"))
    ]
    expected: dict[str, float] = {}
    for other in sorted(alike, key=lambda other: other["steps"]):
        for name, seconds in other["seconds"].items():
            expected[name] = seconds * case.steps / other["steps"]
    return expected


def measure_sequence(
    case: Length, ks: Sequence[int], device: torch.device, limits: Limits, expected: dict[str, float]
) -> dict[str, Any]:
    """Median seconds of alternating runs by rival (``recurrent``, ``k=10``, ...), and why others were left out."""
    left_out, rivals = {}, {}
    for name, backbone in {"recurrent": Recurrent, **{f"k={k}": _feedforward(k) for k in ks}}.items():
        memory = case.tokens * case.size * _bytes_a_step(cell_of(case.model)) * 4
        if name == "recurrent" and case.work == "training" and memory > limits.memory:
            left_out[name] = f"would keep some {memory / 2**30:.0f} GiB for its gradient"
        elif expected.get(name, 0.0) > limits.longest:
            left_out[name] = f"would take some {expected[name]:.0f} s"
        else:
            rivals[name] = _runner(case, backbone, device)
    for run in rivals.values():
        if case.tokens <= 20_000:  # longer ones warm up within their first piece
            run()
    times = alternate(rivals, device, limits.seconds)
    memory = {}
    if case.work == "training" and case.steps == _MEMORY_AT:
        memory = {name: extra_memory(run, device) for name, run in rivals.items()}
        for k in ks:
            once = _runner(case, _feedforward(k, recompute=True), device)
            memory[f"k={k}, recomputed"] = extra_memory(once, device)
            times[f"k={k}, recomputed"] = [seconds_of(once, device) for _ in range(3)]
    return asdict(case) | {
        "seconds": medians(times),
        "rounds": {name: len(values) for name, values in times.items()},
        "memory": memory,
        "left_out": left_out,
    }


def _bytes_a_step(cell: type[Cell]) -> int:
    """Numbers a unit that backpropagation through time keeps, about: gates before and after, and the state."""
    return 2 * len(cell.GATES) + len(cell.state_type._fields)


def _feedforward(k: int, recompute: bool = False) -> Callable[..., CellStack]:
    return lambda cells, dropout: FeedForward(cells, dropout, k=k, recompute=recompute)


def _network(case: Length, backbone: Callable[..., CellStack], device: torch.device) -> SequenceModel:
    torch.manual_seed(0)
    return build_language_model(TYPES, cell_of(case.model), backbone, case.size, case.size).to(device)


def _runner(case: Length, backbone: Callable[..., CellStack], device: torch.device) -> Callable[[], None]:
    """Embedding and states of the whole sequence, and in training their gradient."""
    model = _network(case, backbone, device)
    model.embedding.sparse = device.type == "cpu"
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(TYPES, (case.steps, case.batch), generator=generator).to(device)
    piece = max(1, _ROWS_A_PIECE[device.type] // case.batch)
    length = case.steps if isinstance(model.backbone, Recurrent) else piece
    gradient = torch.randn(case.batch, case.size, generator=generator).to(device)

    def forward(x: Tensor, state: Any) -> Any:
        features, state = model.backbone(model.inputs(x), state)
        if case.work == "training":
            features.backward(gradient.expand_as(features))
        return state

    def run() -> None:
        model.zero_grad(set_to_none=True)
        state = model.backbone.initial_state(case.batch)
        with torch.set_grad_enabled(case.work == "training"):
            for x in words.split(length):
                state = forward(x, state)
                state = state.detach() if isinstance(state, Tensor) else state

    return run


def softmax_seconds(case: Length, device: torch.device, seconds: float) -> float:
    """Seconds a token of the softmax over the vocabulary, in training with its gradients."""
    model = _network(case, Recurrent, device)
    rows = 1024
    features = torch.randn(rows, case.size, device=device)
    targets = torch.randint(TYPES, (rows,), device=device)

    def run() -> None:
        model.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(case.work == "training"):
            nats = model.objective(features.requires_grad_(case.work == "training"), targets)
            if case.work == "training":
                nats.backward()

    run()
    return medians(alternate({"": run}, device, seconds / 2))[""] / rows
