"""analysis=gradient_horizon: how far back the gradient of a loss reaches (claim C5).

The norm of ∂ loss_s / ∂ x_{s-i}, with loss_s = -log p(target at s) and x_t the frame or embedded id at t, i = 0, 1, ...
One backward pass from loss_s gives the gradient by every input before it. Streams of a batch do not see each other, so
one pass from the sum of the losses at the ends of B stretches gives, exactly, all i at B positions: a position
is a stretch, and no pass is spent on a single pair (s, i). In float64: the norms span tens of powers of ten.

The slope of the geometric mean is the growth of a typical gradient, for large i the largest Lyapunov exponent; that of
the mean, never below it in the long run, is set by the few positions whose gradients reach farthest. Both are taken
over the farther half of the distances: gradients of trained models fall fast at first and ever more slowly then, more
like a power of i than like an exponential, so that a slope over all of them says too much.
"""

import copy
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_least, check_split
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.measured import Dynamics
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.training.trained import STAGES, Trained
from stablernn.utils.console import log, open_bar
from stablernn.utils.timing import seconds_of

HORIZON = 100  # inputs
FALLEN = 1e-3  # of the norm at i = 0
_GROUPS = 8  # of positions, for the error of the slope
_STREAMS_AT_ONCE = 64
_BACKWARD = 3  # steps that one takes the time of, whose gradient is wanted


def gradient_norms(
    model: SequenceModel,
    split: Split | Sequences,
    horizon: int,
    streams: int,
    lead: int,
    on_streams: Callable[[int], None] = lambda streams: None,
) -> Tensor:
    """‖∂ loss_s / ∂ x_{s-i}‖_2 for i = 0 .. horizon at positions s spread evenly over a split: (horizon + 1, streams).

    Args:
        model: its cells run recurrently in float64, without dropout, whatever its own backbone; left as it is.
        split: the losses are those of its items.
        horizon: the largest i.
        streams: the number of positions s.
        lead: inputs before x_{s-horizon} that bring the state in from zero, as many as the sequence has.
        on_streams: called with the number of positions done, for a progress bar.

    Raises:
        ConfigurationError: the split has fewer positions than are asked for.
    """
    pieces = split.ending(streams, horizon, lead)
    step = Dynamics(model)
    head = copy.deepcopy(model.objective).double().requires_grad_(False)
    results: list[Tensor] = []
    for x, y, inside in zip(*(part.split(_STREAMS_AT_ONCE, dim=1) for part in pieces), strict=True):
        embedded, inside = step.embed(x), inside.to(model.device)
        state = step.zeros(x.shape[1])
        for t in range(lead):
            state = step(state, embedded[t]) * inside[t, :, None]
        sources = embedded[lead:].clone().requires_grad_()
        for source in sources:
            state = step(state, source)
        loss = head.losses(step.output(state), y[-1].to(model.device)).sum()
        (gradients,) = torch.autograd.grad(loss, [sources])
        results.append(_norms(gradients).flip(0))
        on_streams(sum(part.shape[1] for part in results))
    return torch.cat(results, dim=1)


def _norms(vectors: Tensor) -> Tensor:
    """2-norms along the last axis; scaled, as the squares of 1e-160 are 0."""
    largest = vectors.abs().amax(-1, keepdim=True)
    scaled = vectors / largest.where(largest > 0, 1)
    return largest[..., 0] * torch.linalg.vector_norm(scaled, dim=-1)


def summary(norms: Tensor) -> dict[str, Any]:
    """Statistics over positions of the norms (i, positions), against i.

    Returns:
        mean, median, geometric (mean), low and high (10th and 90th percentile): a value for each i. slope: of the log
        of the mean and of the geometric mean, nats a position, by least squares over the farther half of the i; None
        where nothing is left there. error: the standard error of each, from groups of positions. fallen: the least i
        from which on the mean is at most ``FALLEN`` of that at i = 0, or None.
    """
    low, median, high = norms.quantile(norms.new_tensor([0.1, 0.5, 0.9]), dim=1).tolist()
    mean = norms.mean(1).tolist()
    above = [i for i, value in enumerate(mean) if value > FALLEN * mean[0]]
    fallen = above[-1] + 1 if above else 0
    slopes, errors = {}, {}
    for name, average in (("mean", _mean), ("geometric", _geometric)):
        slopes[name] = _slope(average(norms))
        groups = [_slope(average(norms[:, first::_GROUPS])) for first in range(_GROUPS)]
        known = [slope for slope in groups if slope is not None]
        errors[name] = statistics.stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
    return {
        "mean": mean,
        "median": median,
        "geometric": _geometric(norms),
        "low": low,
        "high": high,
        "slope": slopes,
        "error": errors,
        "fallen": fallen if fallen < len(mean) else None,
    }


def _mean(norms: Tensor) -> list[float]:
    return norms.mean(1).tolist()


def _geometric(norms: Tensor) -> list[float]:
    return norms.log().mean(1).exp().tolist()


def _slope(values: Sequence[float]) -> float | None:
    """Of log(values) against i in the farther half, by least squares."""
    points = [(i, math.log(value)) for i, value in enumerate(values) if 2 * i >= len(values) - 1 and value > 0]
    if len(points) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


@dataclass(frozen=True)
class FromPositions:
    """What goes back some inputs from positions that are spread evenly over a split.

    Attributes:
        split: of the data.
        streams: positions.
        lead: inputs that bring the state in before those that are looked at, as many as the sequence has.
        horizon: the largest distance; None: ``HORIZON``, or as far as the data go.
    """

    split: str = "valid"
    streams: int = 256
    lead: int = 64
    horizon: int | None = None

    @property
    def _horizon(self) -> int:
        return HORIZON if self.horizon is None else self.horizon

    def fit(self, subject: Subject) -> Self:
        """With the horizon that the data allow, where none was asked for."""
        if self.horizon is not None:
            return self
        reach = subject.corpus.splits[self.split].reach(self.streams, self.lead)
        return replace(self, horizon=max(2, min(HORIZON, reach)))

    def check(self, trained: Trained) -> None:
        """Raises ConfigurationError if the data have fewer positions than are asked for."""
        trained.corpus.splits[self.split].ending(self.streams, self._horizon, self.lead)


@dataclass(frozen=True)
class GradientHorizon(FromPositions):
    """The gradient of the loss by the inputs before it, as it changes in training.

    At the initial weights, at those that training kept (``training.keep_every``), at the best evaluation, at the end.

    Args:
        split: of the data.
        streams: positions that the statistics are over, spread evenly over the split.
        lead: inputs that bring the state in before those that are looked at, as many as the sequence has.
        horizon: the largest distance i; None: ``HORIZON``, or as far as the data go.
    """

    name: ClassVar[str] = "gradient_horizon"
    needs: ClassVar[tuple[str, ...]] = ("cells",)

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least(self, streams=2 * _GROUPS, lead=1, horizon=2)

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self) | {"horizon": self._horizon}

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by that of one batch of positions with few inputs before them."""
        model, split = subject.model("best"), subject.corpus.splits[self.split]
        streams, lead, horizon = min(self.streams, _STREAMS_AT_ONCE), min(self.lead, 4), min(self._horizon, 8)

        def norms() -> None:
            gradient_norms(model, split, horizon, streams, lead)

        once = min(seconds_of(norms, subject.device) for _ in range(2))  # the first is that of a cold machine
        batches = math.ceil(self.streams / _STREAMS_AT_ONCE)
        share = (self.lead + _BACKWARD * self._horizon) / (lead + _BACKWARD * horizon)
        return once * share * batches * (len(STAGES) + len(subject.saved_updates))

    def __call__(self, trained: Trained) -> dict[str, Any]:
        """Summaries of the three stages, and of the moments between that were kept, in their order."""
        if not trained.saved_updates:
            log.warning(
                f"{trained.record.id} kept no weights during training, so {self.name} tells the beginning, the best "
                f"evaluation and the end alone; for more, delete {trained.folder} and train with training.keep_every=1"
            )
        progress = trained.record.progress
        stages = {"initial": 0, "best": progress["best_update"], "last": progress["updates"]}
        # A moment that has several names, as the best evaluation that is also the last, is looked into once.
        moments: dict[int, str | int] = {update: update for update in trained.saved_updates}
        moments |= {update: stage for stage, update in stages.items()}
        bar = open_bar(f"gradient horizon {trained.record.id}", len(moments) * self.streams)
        results = {}
        for number, (update, stage) in enumerate(moments.items()):
            norms = gradient_norms(
                trained.model(stage),
                trained.corpus.splits[self.split],
                self._horizon,
                self.streams,
                self.lead,
                on_streams=lambda done, before=number * self.streams: bar.update(before + done),
            )
            results[update] = summary(norms)
        bar.close()
        return {
            "stages": {stage: results[update] for stage, update in stages.items()},
            "during": [{"update": update, **results[update]} for update in trained.saved_updates],
        }
