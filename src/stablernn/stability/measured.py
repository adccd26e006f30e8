"""How contractive a model is on data, whatever can be proven: estimates from below and along the way, not bounds.

- λ_r, the largest ‖φ^r(s) - φ^r(s')‖ / ‖s - s'‖ found by gradient ascent over pairs of states, along
  r inputs of the data (Miller & Hardt 2018, section 5, data-dependent stability). Where some λ_r < 1, the r-step map
  contracts on the pairs that the search knows.
- The largest Lyapunov exponent along the data: the mean growth of log ‖v‖ a position for a tangent v carried along.

Both in float64; states are those of all layers side by side, with the 2-norm.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import rebuild, tensors

LEAST_GROWTH = 1e-12  # float64 tells no smaller ratios of distances apart from none
_LEAST_DISTANCE = 1e-3  # of the states of a pair; nearer ones say no more than a derivative does


class Dynamics:
    """One step of all layers as a function of a flat state (B, S) and embedded inputs (B, E), in float64."""

    def __init__(self, model: SequenceModel) -> None:
        self.cells = [copy.deepcopy(cell).double().requires_grad_(False) for cell in model.cells]
        self._inputs = copy.deepcopy(model.inputs).double().requires_grad_(False)
        self._device = model.device
        self._like = tuple(cell.zeros(1) for cell in self.cells)
        self._sizes = [part.shape[-1] for part in tensors(self._like)]

    def zeros(self, streams: int) -> Tensor:
        return torch.zeros(streams, sum(self._sizes), dtype=torch.float64, device=self._device)

    def embed(self, x: Tensor) -> Tensor:
        """Ids (..., B) or frames (..., B, E) -> (..., B, E)."""
        return self._inputs(x.to(self._device)).double()

    def output(self, state: Tensor) -> Tensor:
        """The features of a state: those of the last layer, (B, S) -> (B, D)."""
        return rebuild(self._like, iter(state.split(self._sizes, dim=1)))[-1].h

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        after = []
        for cell, before in zip(self.cells, rebuild(self._like, iter(state.split(self._sizes, dim=1))), strict=True):
            new = cell(x, before)
            after += new
            x = new.h
        return torch.cat(after, dim=1)


@dataclass(frozen=True)
class Expansion:
    """λ_r for r = 1, 2, ...: the largest of all pairs and their median, the larger of before and after the search."""

    largest: list[float]
    median: list[float]

    @property
    def contracts_from(self) -> int | None:
        """The least r from which on every λ_r is below 1."""
        below = [value < 1 for value in self.largest]
        if not below[-1]:
            return None
        return len(below) - next((n for n, inside in enumerate(reversed(below)) if not inside), len(below)) + 1


def largest_expansion(
    model: SequenceModel,
    inputs: Tensor,
    lead: int,
    targets: Sequence[int],
    steps: int,
    learning_rate: float = 0.02,
    on_step: Callable[[], None] = lambda: None,
) -> Expansion:
    """λ_r for r = 1 .. max(targets), by gradient ascent on log ‖φ^r(s) - φ^r(s')‖ - log ‖s - s'‖ for each target r.

    A pair starts at the states of two streams of the data and stays, coordinate by coordinate, within the range of
    the states reached on the data.

    Args:
        model: float64 copies of its cells are used; it is left as it is.
        inputs: ids (lead + max(targets), B) or frames (..., B, E): B streams of the data.
        lead: inputs that lead a stream from zero to its first state.
        targets: the r that are searched for; each pair found counts for every r.
        steps: of Adam, for each target.
        learning_rate: of Adam.
        on_step: called after each, for a progress bar.
    """
    step = Dynamics(model)
    longest = max(targets)
    with torch.no_grad():
        x = step.embed(inputs)
        state, reached = step.zeros(inputs.shape[1]), []
        for t in range(lead + longest):
            state = step(state, x[t])
            reached.append(state)
        low, high = (torch.stack(reached[lead // 2 :]).flatten(0, 1).aminmax(dim=0)[part] for part in (0, 1))
        start = reached[lead - 1]
        other = start.roll(1, 0)
        # Streams that begin alike are in one state: a pair of those is that of the stream that is farthest away.
        alike = (start - other).norm(dim=1) < _LEAST_DISTANCE
        other[alike] = start[torch.cdist(start, start).argmax(1)][alike]
    ahead = x[lead:]

    def growth(pair: Tensor, r: int) -> Tensor:
        """log ‖φ^j(s) - φ^j(s')‖ / ‖s - s'‖ for j = 1 .. r: (r, B)."""
        first = _log_distance(pair)
        results = []
        both = pair.flatten(0, 1)
        for t in range(r):
            both = step(both, ahead[t].repeat(2, 1))
            results.append(_log_distance(both.view_as(pair)) - first)
        return torch.stack(results).clamp_min(math.log(LEAST_GROWTH))

    largest = torch.full((longest,), -torch.inf, dtype=torch.float64, device=x.device)
    medians = largest.clone()
    for target in targets:
        pair = torch.stack([start, other]).requires_grad_()
        adam = torch.optim.Adam([pair], lr=learning_rate)
        for number in range(steps + 1):
            if number in (0, steps):
                with torch.no_grad():
                    result = growth(pair, longest)
                    largest = torch.maximum(largest, result.amax(1))
                    medians = torch.maximum(medians, result.median(1).values)
            if number < steps:
                loss = -growth(pair, target)[-1].sum()
                (pair.grad,) = torch.autograd.grad(loss, [pair])
                adam.step()
                with torch.no_grad():
                    pair.copy_(torch.minimum(torch.maximum(pair, low), high))
                    _keep_apart(pair)
                on_step()
    return Expansion(largest.exp().tolist(), medians.exp().tolist())


@torch.no_grad()
def lyapunov_exponent(model: SequenceModel, inputs: Tensor, lead: int, seed: int = 0) -> list[float]:
    """The largest Lyapunov exponent along each stream, in nats a position: negative where differences die out.

    Args:
        model: left as it is.
        inputs: ids (T, B) or frames (T, B, E).
        lead: positions at the start that bring state and tangent into the stream and are not counted.
        seed: of the first tangent.
    """
    step = Dynamics(model)
    x = step.embed(inputs)
    state = step.zeros(inputs.shape[1])
    generator = torch.Generator().manual_seed(seed)
    tangent = torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state.device)
    total = state.new_zeros(len(state))
    for t in range(len(inputs)):
        tangent = tangent / tangent.norm(dim=1, keepdim=True)
        state, tangent = torch.func.jvp(partial(step, x=x[t]), (state,), (tangent,))[:2]
        if t >= lead:
            total += tangent.norm(dim=1).log()
    return (total / (len(inputs) - lead)).tolist()


def _log_distance(pair: Tensor) -> Tensor:
    """log of the distance of two states (2, B, S): (B,); never of nothing."""
    return (pair[0] - pair[1]).norm(dim=1).clamp_min(1e-300).log()


def _keep_apart(pair: Tensor) -> None:
    """Move states that have come too close apart, along the line between them."""
    difference = pair[0] - pair[1]
    distance = difference.norm(dim=1, keepdim=True)
    shortfall = (_LEAST_DISTANCE / distance.clamp_min(1e-12)).clamp_min(1)
    pair[0] = pair[1] + difference * shortfall
