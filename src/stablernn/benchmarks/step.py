"""What a benchmark holds against each other: a training step of this package, and the loop that everybody writes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from stablernn.benchmarks.plain import PlainModel, plain_projection, plain_step
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.models.backbone import CellStack
from stablernn.models.cells.base import Cell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.precision import (
    Precision,
    choose_precision,
    product,
    products_of_training,
    set_up_products,
    use_onednn,
    use_tf32,
)
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel, build_language_model
from stablernn.models.state import detach
from stablernn.stability.constraints.base import Constraint, project
from stablernn.training.graph import make_step
from stablernn.utils.machine import keep_freed_memory, return_freed_memory
from stablernn.utils.timing import seconds_of

TYPES, STEPS, CLIP, LR = 33278, 35, 0.25, 1.0


@cache
def cell_of(model: str) -> type[Cell]:
    """The cell of a choice of ``model=``."""
    return make(compose("train", [f"model={model}"]).model.cell).func


def constraint_of(model: str, stability: str) -> Constraint:
    """That of a choice of ``stability=``."""
    return make(compose("train", [f"model={model}", f"stability={stability}"]).stability.constraint)


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
        gates = len(cell_of(self.model).GATES)
        carried = 0 if self.k is None else (self.k - 1) * self.batch
        recurrent = self.tokens if self.k is None else (self.k - 1) * (self.tokens + carried)
        inputs = self.tokens + carried
        return 6 * self.size * (self.tokens * TYPES + gates * self.size * (recurrent + inputs))

    def bare_products(self, precision: Precision, device: torch.device) -> Callable[[], None]:
        """The matrix products of a recurrent step of ours and nothing else, on matrices of its shapes and precision."""
        narrow = torch.float32 if precision is Precision.FLOAT32 else torch.bfloat16
        logits = torch.bfloat16 if precision is Precision.BF16 else torch.float32
        gates = len(cell_of(self.model).GATES) * self.size

        def matrices(dtype: torch.dtype, *shapes: tuple[int, int]) -> list[Tensor]:
            return [torch.randn(shape, device=device, dtype=dtype) for shape in shapes]

        features, decoder = matrices(logits, (self.tokens, self.size), (TYPES, self.size))
        exponentials, h, rows = matrices(narrow, (TYPES, self.tokens), (self.tokens, self.size), (TYPES, self.size))
        x, deltas, weight = matrices(torch.float32, (self.tokens, self.size), (self.tokens, gates), (gates, self.size))

        def multiply() -> None:
            for a, b in ((decoder, features.T), (exponentials.T, rows), (exponentials, h)):
                product(a, b)
            for a, b in ((x, weight.T), (deltas, weight), (deltas.T, x), (deltas.T, x)):  # U each way, and W's gradient
                torch.mm(a, b)
            for before, delta in zip(x.split(self.batch), deltas.split(self.batch), strict=True):
                torch.mm(before, weight.T)
                torch.mm(delta, weight)

        return multiply


@contextmanager
def environment(device: torch.device, *, ours: bool, onednn: bool = False) -> Iterator[None]:
    """Float32 products by oneDNN or by PyTorch's default, and freed memory kept or returned, for a while."""
    if device.type == "cpu":
        use_onednn(onednn)
    else:  # PyTorch's own choice
        use_tf32(False, recurrences=True)
    if ours:
        set_up_products(device)
        keep_freed_memory()
    else:
        return_freed_memory()
    try:
        yield
    finally:
        keep_freed_memory()


class Ours:
    def __init__(self, case: Case, device: torch.device, precision: Precision) -> None:
        self.model, self.constraint = _network(case, device)
        self.model.objective.precision = self.precision = precision
        optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.update = make_step(self.model, self.constraint, optimizer, CLIP)
        self.x, self.y, _ = _words(case, device)
        self.state = self.model.initial_state(case.batch)
        self.device = device

    def environment(self) -> AbstractContextManager[None]:
        return environment(self.device, ours=True)

    def step(self) -> None:
        self.state = self.update(self.x, self.y, self.state)
        if self.device.type == "cpu":
            self.collect()

    def collect(self) -> None:
        self.update.collect()

    def release(self) -> None:
        self.update.release()

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
        with products_of_training(self.model.objective.precision, self.device):
            seconds = {name: seconds_of(part, self.device) for name, part in work.items()}
        step.collect()
        self.state = detach(after)
        return seconds


class Plain:
    def __init__(self, case: Case, device: torch.device, onednn: bool = False) -> None:
        network, _ = _network(case, device)
        self.model = PlainModel.like(network)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.x, self.y, before = _words(case, device)
        self.window = torch.cat([before, self.x])
        self.state: object = None
        self.case, self.device, self.onednn = case, device, onednn

    def environment(self) -> AbstractContextManager[None]:
        return environment(self.device, ours=False, onednn=self.onednn)

    def step(self) -> None:
        k = self.case.k
        x = self.x if k is None else self.window
        _, self.state = plain_step(self.model, self.optimizer, x, self.y, self.state, CLIP, k=k)
        if self.case.stability == "stable":
            plain_projection(self.model)


def variants(case: Case, device: torch.device) -> dict[str, "Ours | Plain"]:
    precision = choose_precision("auto", device)
    rivals: dict[str, Ours | Plain] = {"auto": Ours(case, device, precision)}
    if precision is not Precision.FLOAT32:
        rivals |= {str(other): Ours(case, device, other) for other in (Precision.FLOAT32, Precision.BF16)}
    rivals["plain"] = Plain(case, device)
    if device.type == "cpu" and case.k is None and use_onednn(True):
        rivals["plain_onednn"] = Plain(case, device, onednn=True)
    return rivals


def _network(case: Case, device: torch.device) -> tuple[SequenceModel, Constraint]:
    torch.manual_seed(0)

    def backbone(cells, dropout) -> CellStack:
        return Recurrent(cells, dropout) if case.k is None else FeedForward(cells, dropout, k=case.k)

    network = build_language_model(TYPES, cell_of(case.model), backbone, case.size, case.size)
    constraint = constraint_of(case.model, case.stability)
    project(constraint, network)
    return network.to(device), constraint


def _words(case: Case, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """x and y (T, B), and the k - 1 words before x."""
    generator = torch.Generator().manual_seed(1)
    shape = (2 * STEPS + (case.k or 1) - 1, case.batch)
    words = torch.randint(TYPES, shape, generator=generator).to(device)
    return words[:STEPS], words[STEPS : 2 * STEPS], words[2 * STEPS :]
