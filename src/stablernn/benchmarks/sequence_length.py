"""Recurrent against feed-forward, by the length of the sequence (claim C8): tokens a second in training and scoring.

The two differ in the hidden states alone, embedding and softmax are the same. So the states are timed (with the
embedding, and in training with their gradient from a given one of the features), and the softmax's time a token is
measured beside them, from which the ratio of whole models follows. In training the recurrent model goes back through
all of the sequence and keeps what that needs; the feed-forward one takes the sequence in pieces, which changes nothing
in its gradient, as no position depends on another's state.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablernn.benchmarks.step import TYPES, cell_of
from stablernn.benchmarks.step_time import extra_memory, read_or_begin
from stablernn.models.backbone import CellStack
from stablernn.models.cells.base import Cell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.precision import set_up_products
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel, build_language_model
from stablernn.utils.files import write_json
from stablernn.utils.provenance import commit
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


def benchmark_sequences(
    path: Path, todo: Sequence[Length], ks: Sequence[int], device: torch.device, limits: Limits, fresh: bool
) -> Iterator[str]:
    """Measure what the file at ``path`` lacks (everything if ``fresh``), and write it after each case.

    Yields:
        The name of what is measured next.
    """
    empty: dict[str, Any] = {"cases": {}, "softmax": {}}
    measured = read_or_begin(path, device, False, empty) | (empty if fresh else {})
    set_up_products(device)
    for case in todo:
        yield case.name
        softmax = f"{case.model}-{case.work}-d{case.size}"
        if softmax not in measured["softmax"]:
            measured["softmax"][softmax] = softmax_seconds(case, device, limits.seconds)
        if case.name not in measured["cases"]:
            result = measure_sequence(case, ks, device, limits, _expected(case, measured["cases"]))
            measured["cases"][case.name] = result | {"commit": commit()}
            write_json(path, measured)


def _expected(case: Length, known: dict[str, Any]) -> dict[str, float]:
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
        kept = case.tokens * case.size * _bytes_a_step(cell_of(case.model)) * 4
        if name == "recurrent" and case.work == "training" and kept > limits.memory:
            left_out[name] = f"would keep some {kept / 2**30:.0f} GiB for its gradient"
        elif expected.get(name, 0.0) > limits.longest:
            left_out[name] = f"would take some {expected[name]:.0f} s"
        else:
            rivals[name] = _runner(case, backbone, device)
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for run in rivals.values():
        if case.tokens <= 20_000:  # longer ones warm up within their first piece
            run()
    began = time.monotonic()
    while rivals:
        for name, run in rivals.items():
            times[name].append(seconds_of(run, device))
        rounds, elapsed = len(next(iter(times.values()))), time.monotonic() - began
        if elapsed >= limits.seconds and (rounds >= 3 or elapsed / rounds > limits.seconds):
            break
    memory = {}
    if case.work == "training" and case.steps == _MEMORY_AT:
        memory = {name: extra_memory(run, device) for name, run in rivals.items()}
        for k in ks:
            once = _runner(case, _feedforward(k, recompute=True), device)
            memory[f"k={k}, recomputed"] = extra_memory(once, device)
            times[f"k={k}, recomputed"] = [seconds_of(once, device) for _ in range(3)]
    return asdict(case) | {
        "seconds": {name: statistics.median(values) for name, values in times.items()},
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
    times, began = [], time.monotonic()
    while len(times) < 3 or time.monotonic() - began < seconds / 2:
        times.append(seconds_of(run, device))
    return statistics.median(times) / rows
