"""Step time of this package against the plain loop, as ratios of medians of alternating steps in one process."""

import gc
import itertools
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablernn.allocator import keep_freed_memory, release_free_memory, return_freed_memory
from stablernn.analysis.plain import PlainModel, plain_projection, plain_step, plain_window_step
from stablernn.models.cells import LSTMCell, RNNCell
from stablernn.models.language_model import SequenceModel, build_language_model
from stablernn.models.precision import Precision, choose_precision, multiplies_bf16, set_up_products, use_onednn
from stablernn.models.truncated import FeedForward
from stablernn.models.unroll import Backbone, Recurrent, detach
from stablernn.stability.constraints import Constraint, LSTMStated, SpectralNormBall, Unconstrained, project
from stablernn.training.graph import make_step

TYPES, STEPS, CLIP, LR = 33278, 35, 0.25, 1.0
_CELLS = {"rnn": RNNCell, "lstm": LSTMCell}
_STABLE: dict[str, Callable[[], Constraint]] = {"rnn": SpectralNormBall, "lstm": LSTMStated}


@dataclass(frozen=True)
class Case:
    """One configuration of a training step. ``k`` is None for the recurrent model, else the words of context."""

    model: str
    stability: str
    size: int
    batch: int
    k: int | None

    @property
    def name(self) -> str:
        kind = "recurrent" if self.k is None else f"feedforward-k{self.k}"
        return f"{self.model}-{self.stability}-{kind}-d{self.size}-b{self.batch}"

    @property
    def tokens(self) -> int:
        return STEPS * self.batch

    def products(self) -> int:
        """Floating-point operations of the matrix products of a step: forward, and twice as many backward."""
        gates = 4 if self.model == "lstm" else 1
        carried = 0 if self.k is None else (self.k - 1) * self.batch
        recurrent = self.tokens if self.k is None else (self.k - 1) * (self.tokens + carried)
        inputs = self.tokens + carried
        return 6 * self.size * (self.tokens * TYPES + gates * self.size * (recurrent + inputs))


def cases(models: Sequence[str], sizes: Sequence[int], batches: Sequence[int], ks: Sequence[int | None]) -> list[Case]:
    """Every combination, cheap and telling ones first."""
    return [
        Case(model, stability, size, batch, k)
        for k, batch, size, model, stability in itertools.product(ks, batches, sizes, models, ("unstable", "stable"))
    ]


def measure(case: Case, device: torch.device, seconds: float) -> dict[str, Any]:
    """Times of ours in each precision and of plain, of the parts of ours, and the memory that a step takes.

    Args:
        case: what to measure, on random words of a WikiText-2 sized vocabulary.
        device: where.
        seconds: alternate for about so long, but for three rounds at least where a round takes less than it.

    Returns:
        Medians in seconds by contender under ``seconds``, of ours' parts under ``parts``, and bytes under ``memory``.
    """
    contenders = _contenders(case, device)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    memory = {}
    for name, run in contenders.items():
        with run.environment():
            memory[name] = _extra_memory(run.step, device)  # and warms up
            run.step()
    began = time.monotonic()
    while True:
        for name, run in contenders.items():
            with run.environment():
                times[name].append(_time(run.step, device))
        rounds = len(times["plain"])
        elapsed = time.monotonic() - began
        if elapsed >= seconds and (rounds >= 3 or elapsed / rounds > seconds):
            break
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = contenders["auto"]
    assert isinstance(ours, _Ours)
    with ours.environment():
        rounds_of_parts = [ours.parts() for _ in range(5)]
    parts = {name: statistics.median(parts[name] for parts in rounds_of_parts) for name in rounds_of_parts[0]}
    return asdict(case) | {
        "rounds": rounds,
        "precision": str(ours.model.objective.precision),
        "seconds": medians,
        "parts": parts,
        "memory": memory,
        "products": case.products(),
    }


def ceiling(device: torch.device) -> dict[str, float]:
    """The most that a product of square matrices reaches here, in operations a second, by precision."""
    size = 8192 if device.type == "cuda" else 2048
    reached = {}
    set_up_products(Precision.BF16, device)
    for dtype in (torch.float32, torch.bfloat16) if multiplies_bf16(device) else (torch.float32,):
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        best = min(_time(lambda a=a, b=b: torch.mm(a, b), device) for _ in range(8))
        reached[str(dtype).removeprefix("torch.")] = 2 * size**3 / best
    return reached


class _environment:
    """Float32 products by oneDNN or by PyTorch's default, and freed memory kept or returned, for a while."""

    def __init__(self, device: torch.device, *, ours: bool, onednn: bool = False, precision=Precision.FLOAT32) -> None:
        self.device, self.ours, self.onednn, self.precision = device, ours, onednn, precision

    def __enter__(self) -> None:
        if self.device.type == "cpu":
            use_onednn(self.onednn)
        if self.ours:
            set_up_products(self.precision, self.device)
            keep_freed_memory()
        else:
            return_freed_memory()

    def __exit__(self, *_: object) -> None:
        keep_freed_memory()


class _Ours:
    def __init__(self, case: Case, device: torch.device, precision: Precision) -> None:
        self.model, self.constraint = _network(case, device)
        self.model.objective.precision = precision
        optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.update = make_step(self.model, self.constraint, optimizer, CLIP)
        self.x, self.y, _ = _words(case, device)
        self.state = self.model.initial_state(case.batch)
        self.device, self.precision = device, precision

    def environment(self) -> _environment:
        return _environment(self.device, ours=True, precision=self.precision)

    def step(self) -> None:
        self.state = self.update(self.x, self.y, self.state)
        if self.device.type == "cpu":
            self.update.collect()

    def parts(self) -> dict[str, float]:
        """Seconds of the parts of one step: softmax layer, embedding and recurrence, update, projection."""
        step = self.update
        step.set_lr()
        for parameter in step.parameters:
            parameter.grad = None
        features, after = self.model(self.x, self.state)
        leaf = features.detach().requires_grad_()
        losses = []

        def head() -> None:
            losses.append(self.model.objective(leaf, self.y))
            losses[-1].backward()

        def recurrence() -> None:
            features, _ = self.model(self.x, self.state)
            features.backward(leaf.grad)

        work = {
            "head": head,
            "recurrence": recurrence,
            "update": lambda: step.apply(losses[-1].detach(), self.y.numel()),
            "projection": lambda: project(self.constraint, self.model),
        }
        seconds = {name: _time(part, self.device) for name, part in work.items()}
        step.collect()
        self.state = detach(after)
        return seconds


class _Plain:
    def __init__(self, case: Case, device: torch.device, onednn: bool = False) -> None:
        network, _ = _network(case, device)
        self.model = PlainModel.like(network)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.x, self.y, before = _words(case, device)
        self.window = torch.cat([before, self.x])
        self.state: object = None
        self.case, self.device, self.onednn = case, device, onednn

    def environment(self) -> _environment:
        return _environment(self.device, ours=False, onednn=self.onednn)

    def step(self) -> None:
        if self.case.k is None:
            _, self.state = plain_step(self.model, self.optimizer, self.x, self.y, self.state, CLIP)
        else:
            plain_window_step(self.model, self.optimizer, self.window, self.y, self.case.k, CLIP)
        if self.case.stability == "stable":
            plain_projection(self.model)


def _contenders(case: Case, device: torch.device) -> dict[str, "_Ours | _Plain"]:
    precision = choose_precision("auto", device)
    found: dict[str, _Ours | _Plain] = {"auto": _Ours(case, device, precision)}
    if precision is not Precision.FLOAT32:
        found["float32"] = _Ours(case, device, Precision.FLOAT32)
    found["plain"] = _Plain(case, device)
    if device.type == "cpu" and case.k is None and use_onednn(True):
        found["plain_onednn"] = _Plain(case, device, onednn=True)
    return found


def _network(case: Case, device: torch.device) -> tuple[SequenceModel, Constraint]:
    torch.manual_seed(0)

    def backbone(cells, dropout) -> Backbone:
        return Recurrent(cells, dropout) if case.k is None else FeedForward(cells, dropout, k=case.k)

    network = build_language_model(TYPES, _CELLS[case.model], backbone, case.size, case.size)
    constraint = _STABLE[case.model]() if case.stability == "stable" else Unconstrained()
    project(constraint, network)
    return network.to(device), constraint


def _words(case: Case, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """x and y (T, B), and the k - 1 words before x."""
    generator = torch.Generator().manual_seed(1)
    shape = (2 * STEPS + (case.k or 1) - 1, case.batch)
    words = torch.randint(TYPES, shape, generator=generator).to(device)
    return words[:STEPS], words[STEPS : 2 * STEPS], words[2 * STEPS :]


def _time(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _extra_memory(work: Callable[[], Any], device: torch.device) -> int:
    """Bytes that one call takes at its peak beyond what is held before it; 0 where that cannot be told."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - held
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        work()
        return 0
    return_freed_memory()
    release_free_memory()
    reset.write_text("5", encoding="ascii")
    held = _resident("VmRSS")
    work()
    return _resident("VmHWM") - held


def _resident(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
