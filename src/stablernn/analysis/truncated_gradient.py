"""analysis=truncated_gradient: what backpropagation through time loses when it stops after k inputs.

The loss at position s depends on the weights w through every step before it. With the state s_t after input t, and the
gradient δ_j of the loss by s_{s-j}, backpropagation through time is::

    δ_{j+1} = J_{s-j}ᵀ δ_j,      g = Σ_{j >= 0} D_{s-j}ᵀ δ_j

where J_t is the derivative of step t by the state before it, and D_t that by the weights at this step alone. Two
gradients stop after k inputs:

- *cut*: g_k = Σ_{j < k} D_{s-j}ᵀ δ_j, the true state with a shorter way back: truncated backpropagation. It differs
  from g by the rest of the sum. If the step is λ-contractive, the dual norm of δ shrinks by λ a step, and
  ‖g - g_k‖ <= Σ_{j >= k} λ^j C = λ^k C / (1 - λ) with C the mean over positions of ‖δ_0‖ max_t ‖D_t‖.
- *feed-forward*: the gradient of the truncated model, whose state is that of the last k inputs too (Miller & Hardt
  2018 compare what the two train to).

Gradients are those of a mini-batch of positions, by all weights of the cells. In float64, and the rest is summed from
its far end: it may be smaller than the rounding of g.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from stablernn.analysis.estimate import Subject
from stablernn.analysis.gradient_horizon import FromPositions
from stablernn.analysis.runner import check_least, check_split
from stablernn.models.cells.base import Cell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.lstm_fixed import FixedForgetLSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import State
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.certificates import certify
from stablernn.stability.measured import Dynamics
from stablernn.stability.proofs.norms import StateNorm
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.training.trained import STAGES, Trained
from stablernn.utils.console import open_bar
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.timing import seconds_of

_ADDING_UP = (RNNCell, LSTMCell, FixedForgetLSTMCell)  # gates that see W h + U x + b and the state, unit by unit


@dataclass(frozen=True)
class GradientBias:
    """Distances from the full gradient g, in 2-norms.

    Attributes:
        full: ‖g‖.
        cut: ‖g - g_k‖ / ‖g‖ for k = 0 .. horizon.
        feedforward: the same of the truncated model's gradient, by k.
        bound: proven, of cut (and beyond the horizon, if no earlier ‖D_t‖ is larger); None where nothing is proven.
        rate: λ of the bound; None where there is none.
    """

    full: float
    cut: list[float]
    feedforward: dict[int, float]
    bound: list[float] | None
    rate: float | None


def gradient_bias(
    model: SequenceModel, split: Split | Sequences, horizon: int, streams: int, lead: int, lengths: Sequence[int]
) -> GradientBias:
    """The bias of truncated gradients of the mean loss at positions spread evenly over a split.

    Args:
        model: its cells run recurrently in float64, without dropout, whatever its own backbone; left as it is.
        split: the losses are those of its items.
        horizon: the full gradient goes so many inputs back, beside that of the position.
        streams: the number of positions.
        lead: inputs before these that bring the state in from zero, as many as the sequence has.
        lengths: the k of the feed-forward gradients, at most ``horizon``.

    Raises:
        ConfigurationError: the split has fewer positions than are asked for.
    """
    pieces = split.ending(streams, horizon, lead)
    path = _Path(model, pieces.x, pieces.y[-1], pieces.inside, lead)
    gradient, rests = path.gradient(horizon + 1)
    full = rests[0] or 1.0  # of a model that learns nothing all are 0
    feedforward = {}
    for k in lengths:
        ours, _ = path.gradient(k, from_zero=True)
        feedforward[k] = _norm([a - b for a, b in zip(gradient, ours, strict=True)]) / full
    bound, rate = path.bound(model)
    return GradientBias(
        rests[0],
        [rest / full for rest in rests],
        feedforward,
        bound and [value / full for value in bound],
        rate,
    )


class _Path:
    """The way of a mini-batch through its last inputs, and back."""

    def __init__(self, model: SequenceModel, x: Tensor, y: Tensor, inside: Tensor, lead: int) -> None:
        """x (lead + T, B, ...), y (B, ...), inside (lead + T, B)."""
        self.step = Dynamics(model)
        self.parameters = [p.requires_grad_() for cell in self.step.cells for p in cell.parameters()]
        self._head = copy.deepcopy(model.objective).double().requires_grad_(False)
        self._targets = y.to(model.device)
        embedded, inside = self.step.embed(x), inside.to(model.device)
        self.state = self.step.zeros(x.shape[1])
        with torch.no_grad():
            for t in range(lead):
                self.state = self.step(self.state, embedded[t]) * inside[t, :, None]
        self.x = embedded[lead:]

    def forward(self, inputs: Tensor, state: Tensor) -> list[Tensor]:
        """The states before each of the inputs and after the last."""
        states = [state]
        with torch.no_grad():
            for one in inputs:
                states.append(self.step(states[-1], one))
        return states

    def first_delta(self, state: Tensor) -> Tensor:
        """δ_0 of the mean loss, (B, S)."""
        state = state.clone().requires_grad_()
        loss = self._head.losses(self.step.output(state), self._targets).mean()
        (delta,) = torch.autograd.grad(loss, [state])
        return delta

    def gradient(self, k: int, from_zero: bool = False) -> tuple[list[Tensor], list[float]]:
        """The gradient through the last k inputs, by each parameter; ‖Σ_{j >= n} D_{s-j}ᵀ δ_j‖ for n = 0 .. k - 1."""
        inputs = self.x[len(self.x) - k :]
        start = self.step.zeros(self.x.shape[1]) if from_zero else self.forward(self.x, self.state)[len(self.x) - k]
        states = self.forward(inputs, start)
        deltas = [self.first_delta(states[-1])]
        for t in reversed(range(1, k)):
            before = states[t].requires_grad_()
            (delta,) = torch.autograd.grad(self.step(before, inputs[t]), [before], deltas[-1])
            deltas.append(delta)
        rest, norms = [torch.zeros_like(parameter) for parameter in self.parameters], []
        for t, delta in enumerate(reversed(deltas)):
            after = self.step(states[t].detach(), inputs[t])
            here = torch.autograd.grad(after, self.parameters, delta, allow_unused=True, materialize_grads=True)
            rest = [total + part for total, part in zip(rest, here, strict=True)]
            norms.append(_norm(rest))
        return rest, norms[::-1]

    @torch.no_grad()
    def bound(self, model: SequenceModel) -> tuple[list[float] | None, float | None]:
        """Bounds of ``gradient``'s norms, and their λ; of one layer of a cell whose gates see sums, if it contracts."""
        cell = self.step.cells[0]
        certificate = certify(model, search_units=0)
        if len(self.step.cells) > 1 or not isinstance(cell, _ADDING_UP) or not certificate.holds:
            return None, None
        layer = certificate.layers[0]
        assert layer.norm is not None
        states = self.forward(self.x, self.state)
        with torch.enable_grad():
            delta = self.first_delta(states[-1])
        sizes = [cell.hidden_size] * len(cell.state_type._fields)
        direct = torch.stack(
            [
                _direct(cell, x, cell.state_type(*before.split(sizes, dim=1)), layer.norm)
                for x, before in zip(self.x, states[:-1], strict=True)
            ]
        ).amax(0)
        weights = torch.cat(list(layer.norm.weights)).to(delta)
        dual = torch.linalg.vector_norm(delta / weights, ord=layer.norm.dual, dim=1)
        constant = float((dual * direct).sum()) / (1 - layer.rate)
        return [constant * layer.rate**k for k in range(len(self.x))], layer.rate


def _direct(cell: Cell, x: Tensor, before: State, norm: StateNorm) -> Tensor:
    """A bound of ‖D_tᵀ δ‖_2 / ‖δ‖ for x (B, E) and states before of (B, D), ‖δ‖ the dual norm: (B,).

    The row of a gate's weights of one unit has the gradient (δ · ∂s/∂gate) (x, h, 1, 1): only its own unit's state
    depends on it.
    """
    projected = cell.project_inputs(x)
    squares: Any = 0.0
    for gate in range(len(cell.GATES)):
        one = torch.zeros_like(projected)
        one.chunk(len(cell.GATES), dim=-1)[gate].fill_(1.0)
        slopes = torch.func.jvp(lambda gates: tuple(cell.step(gates, before)), (projected,), (one,))[1]
        weighted = (slope * weight.to(slope) for slope, weight in zip(slopes, norm.weights, strict=True))
        squares = squares + sum(slope**2 for slope in weighted)
    seen = (x.square().sum(1) + before.h.square().sum(1) + 2).sqrt()
    return squares.amax(1).sqrt() * seen


def _norm(parts: Sequence[Tensor]) -> float:
    """The 2-norm of all of them together; scaled, as the squares of 1e-160 are 0."""
    largest = max(float(part.abs().amax()) for part in parts)
    return largest * math.sqrt(sum(float((part / largest).square().sum()) for part in parts)) if largest else 0.0


@dataclass(frozen=True)
class TruncatedGradient(FromPositions):
    """The bias of truncated gradients against k: at the initial weights, the best evaluation, and the end.

    Args:
        split: of the data.
        streams: positions of the mini-batch, spread evenly over the split.
        lead: inputs that bring the state in before those that are looked at, as many as the sequence has.
        horizon: of the full gradient, and the largest k; None: ``HORIZON``, or as far as the data go.
        lengths: the k of the feed-forward gradients; those above the horizon are left out.
    """

    split: str = "train"
    lengths: Sequence[int] = field(default=(1, 2, 5, 10, 20, 35, 50, 100))
    name: ClassVar[str] = "truncated_gradient"
    needs: ClassVar[tuple[str, ...]] = ("cells",)

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least(self, streams=1, lead=1, horizon=2)
        if not self.lengths or min(self.lengths) < 1:
            raise ConfigurationError(f"analysis.lengths={list(self.lengths)} must be whole numbers >= 1")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self) | {"horizon": self._horizon, "lengths": list(self.lengths)}

    @property
    def _shown(self) -> list[int]:
        return sorted({k for k in self.lengths if k <= self._horizon})

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by two mini-batches with few inputs: a certificate takes as long whatever k."""
        model, split = subject.model("best"), subject.corpus.splits[self.split]
        few, more = 2, min(self._horizon, 8)
        self._measure(model, split, few, [])  # the first is that of a cold machine
        short, long = (seconds_of(lambda n=n: self._measure(model, split, n, []), subject.device) for n in (few, more))
        step = max(0.0, long - short) / max(1, more - few)
        return len(STAGES) * (short + step * (self._horizon - few + sum(self._shown)))

    def __call__(self, trained: Trained) -> dict[str, Any]:
        progress = trained.record.progress
        updates = {"initial": 0, "best": progress["best_update"], "last": progress["updates"]}
        bar = open_bar(f"truncated gradient {trained.record.id}", len(updates))
        found: dict[int, dict[str, Any]] = {}  # the best may be the last
        for number, (stage, update) in enumerate(updates.items()):
            bar.update(number)
            if update not in found:
                split = trained.corpus.splits[self.split]
                found[update] = self._measure(trained.model(stage), split, self._horizon, self._shown)
        bar.close()
        return {"stages": {stage: found[update] for stage, update in updates.items()}}

    def _measure(self, model: SequenceModel, split: Split | Sequences, horizon: int, lengths: list[int]) -> dict:
        bias = gradient_bias(model, split, horizon, self.streams, self.lead, lengths)
        return asdict(bias) | {"feedforward": {str(k): value for k, value in bias.feedforward.items()}}
