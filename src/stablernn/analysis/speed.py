"""Step time of this package against the plain loop, as ratios of medians of alternating pairs in one process."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from stablernn.analysis.plain import PlainModel, plain_step
from stablernn.models.cells import LSTMCell, RNNCell
from stablernn.models.language_model import SequenceModel, build_language_model
from stablernn.models.unroll import Recurrent, detach
from stablernn.stability.constraints import Constraint, LSTMStated, SpectralNormBall, Unconstrained, project

TYPES, BATCH, STEPS, CLIP, LR = 33278, 20, 35, 0.25, 1.0
_CELLS = {"rnn": RNNCell, "lstm": LSTMCell}
_STABLE: dict[str, Callable[[], Constraint]] = {"rnn": SpectralNormBall, "lstm": LSTMStated}


@dataclass(frozen=True)
class StepTime:
    """Seconds of one training step (median), ours and plain, and plain / ours."""

    model: str
    stability: str
    size: int
    ours: float
    plain: float

    @property
    def ratio(self) -> float:
        return self.plain / self.ours

    def as_dict(self) -> dict:
        return asdict(self) | {"ratio": self.ratio}


def step_time(model: str, stability: str, size: int, pairs: int) -> StepTime:
    """Time ``pairs`` alternating steps on random words of a WikiText-2 sized vocabulary.

    The plain loop of a stable RNN clips the singular values by an SVD a step, that of a stable LSTM
    rescales its rows as ours does.
    """
    torch.manual_seed(0)
    network = build_language_model(TYPES, _CELLS[model], Recurrent, size, size)
    constraint = _STABLE[model]() if stability == "stable" else Unconstrained()
    project(constraint, network)
    plain = PlainModel.like(network)
    x, y = torch.randint(TYPES, (STEPS, BATCH)), torch.randint(TYPES, (STEPS, BATCH))
    ours_step, plain_loop = _ours(network, constraint, x, y), _plain(plain, stability, x, y)
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(pairs + 1):
        for step, seconds in zip((ours_step, plain_loop), times, strict=True):
            began = time.perf_counter()
            step()
            if repeat:  # the first pair warms up
                seconds.append(time.perf_counter() - began)
    return StepTime(model, stability, size, *(statistics.median(seconds) for seconds in times))


def _ours(network: SequenceModel, constraint: Constraint, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    state = network.initial_state(BATCH)

    def step() -> None:
        nonlocal state
        optimizer.zero_grad(set_to_none=True)
        nats, after = network.loss(x, y, state)
        (nats / y.numel()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        project(constraint, network)
        state = detach(after)

    return step


def _plain(plain: PlainModel, stability: str, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(plain.parameters(), lr=LR)
    state = None

    def step() -> None:
        nonlocal state
        _, state = plain_step(plain, optimizer, x, y, state, CLIP)
        if stability == "stable":
            with torch.no_grad():
                weight = plain.recurrent.weight_hh_l0
                assert isinstance(weight, Tensor)
                if isinstance(plain.recurrent, nn.LSTM):
                    for gate, limit in zip(weight.chunk(4), (0.36, 0.128, 0.09, 0.36), strict=True):
                        gate *= (limit / gate.abs().sum(1, keepdim=True)).clamp_max(1)
                else:
                    u, s, vt = torch.linalg.svd(weight)
                    weight.copy_((u * s.clamp_max(0.999)) @ vt)

    return step


def measure(models: Sequence[str], sizes: Sequence[int], pairs: int) -> list[StepTime]:
    """``step_time`` of every model and size, unstable and stable."""
    return [step_time(m, s, size, pairs) for size in sizes for m in models for s in ("unstable", "stable")]
