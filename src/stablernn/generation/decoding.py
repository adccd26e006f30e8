"""How a model generates: the most probable item, one drawn at random, or by beam search.

A draw is made by the Gumbel-max trick: of scores z_j, the item is argmax_j z_j + T G_j with standard Gumbel noise G_j,
so that its probability is proportional to exp(z_j / T). With the same noise two models that differ by little draw the
same item, as they do where the noise is left out (greedy).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import select_streams
from stablernn.utils.errors import ConfigurationError

GREEDY, SAMPLE, BEAM = "greedy", "sample", "beam"


@dataclass(frozen=True)
class Decoding:
    """How the next item is chosen.

    Attributes:
        name: ``greedy``: the most probable one; ``sample``: drawn; ``beam``: of the most probable sequences.
        beam: sequences that are kept.
        temperature: T; draws from p^(1/T), normalised.
        seed: of the noise.
        end: the id after which nothing follows; None: there is none, and all sequences are of one length.
        normalisation: α; of a beam the sequence with the highest log-probability / lengthᵅ is taken. 0: the most
            probable one, which favours short ones; 1: the highest mean of an item.
    """

    name: str = GREEDY
    beam: int = 5
    temperature: float = 1.0
    seed: int = 0
    end: int | None = None
    normalisation: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in (GREEDY, SAMPLE, BEAM):
            raise ConfigurationError(f"decoding={self.name} is unknown: choose {GREEDY}, {SAMPLE} or {BEAM}")
        if self.beam < 1:
            raise ConfigurationError(f"beam={self.beam} must be a whole number >= 1")
        if not 0 < self.temperature < math.inf:
            raise ConfigurationError(
                f"temperature={self.temperature} must be a positive number; for the most probable item decoding=greedy"
            )
        if not 0 <= self.seed < 2**63:
            raise ConfigurationError(f"seed={self.seed} must be a whole number from 0 to 2^63 - 1")
        if not 0 <= self.normalisation < math.inf:
            raise ConfigurationError(f"normalisation={self.normalisation} must be a number >= 0")

    def score(self, nats: Tensor) -> float:
        """By which sequences are compared, of the log-probabilities (N,) of the items of one."""
        return float(nats.sum()) / len(nats) ** self.normalisation


@dataclass(frozen=True)
class Continuation:
    """What a model went on with.

    Attributes:
        items: ids (N,) or frames (N, E), the one that ends it included.
        log_probabilities: (N,), nats, of each item after those before it.
        margins: (N,), nats by which an item's score, noise included, is above that of the second best; None of a beam,
            which chooses whole sequences.
    """

    items: Tensor
    log_probabilities: Tensor
    margins: Tensor | None


class _Categories:
    """One of V ids comes."""

    @staticmethod
    def scores(model: SequenceModel, features: Tensor) -> Tensor:
        """(B, D) -> (B, V), log-probabilities."""
        return model.objective.distribution(features)

    @staticmethod
    def noise(scores: Tensor, generator: torch.Generator) -> Tensor:
        return _gumbel(scores, generator)

    @staticmethod
    def best(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """The items of the highest scores, best first, (B, n), and these."""
        values, items = scores.topk(min(number, scores.shape[1]))
        return items, values

    @staticmethod
    def log_probability(scores: Tensor, items: Tensor) -> Tensor:
        """Of items (B,)."""
        return scores.gather(1, items[:, None])[:, 0]


class _Switches:
    """Each of E outputs is on or off: a score z_j in favour of on, and the log-probability of a frame is their sum."""

    @staticmethod
    def scores(model: SequenceModel, features: Tensor) -> Tensor:
        """(B, D) -> (B, E), logits."""
        return model.objective.logits(features)

    @staticmethod
    def noise(scores: Tensor, generator: torch.Generator) -> Tensor:
        return _gumbel(scores, generator) - _gumbel(scores, generator)  # logistic

    @staticmethod
    def best(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """The most probable frames, best first, (B, n, E), and their log-probabilities (B, n).

        The best has every switch as it is more probable. To turn switches costs the sum of their |z|, so each of the
        next best turns some of the n switches with the smallest.
        """
        weakest, places = scores.abs().topk(min(number, scores.shape[1]), largest=False)
        costs, turned = scores.new_zeros(len(scores), 1), torch.zeros_like(scores, dtype=torch.bool)[:, None]
        for cost, place in zip(weakest.T, places.T, strict=True):
            more = turned.scatter(2, place[:, None, None].expand(-1, turned.shape[1], 1), True)
            both, turned = torch.cat([costs, costs + cost[:, None]], 1), torch.cat([turned, more], 1)
            costs, chosen = both.topk(min(number, both.shape[1]), largest=False)
            turned = turned.gather(1, chosen[..., None].expand(-1, -1, turned.shape[2]))
        frames = (scores > 0)[:, None] ^ turned
        return frames.to(scores.dtype), -softplus(-scores.abs()).sum(1, keepdim=True) - costs

    @staticmethod
    def log_probability(scores: Tensor, items: Tensor) -> Tensor:
        """Of frames (B, E)."""
        return -softplus(torch.where(items > 0, -scores, scores)).sum(1)


def _gumbel(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Drawn on the CPU, so that a seed means the same everywhere."""
    return -torch.empty(scores.shape, dtype=scores.dtype).exponential_(generator=generator).log().to(scores.device)


@torch.no_grad()
def go_on(model: SequenceModel, prompt: Tensor, length: int, decoding: Decoding) -> Continuation:
    """The next items after a prompt.

    Args:
        model: reads what it predicts; of any backbone, in evaluation mode; it reads an item at a time.
        prompt: ids (T, 1) or frames (T, 1, E), T >= 1, from the initial state.
        length: items to generate, fewer where one ends the text.
        decoding: how each is chosen. A beam search continues as greedy does where that has the higher score in the end.
    """
    outputs: Any = _Switches if isinstance(model.objective, Bernoulli) else _Categories
    one_by_one = _step_by_step(model, outputs, prompt, length, decoding)
    if decoding.name != BEAM:
        return one_by_one
    found = _searched(model, outputs, prompt, length, decoding)
    return max(found, one_by_one, key=lambda continuation: decoding.score(continuation.log_probabilities))


def _step_by_step(model: SequenceModel, outputs: Any, prompt: Tensor, length: int, decoding: Decoding) -> Continuation:
    generator = torch.Generator().manual_seed(decoding.seed)
    x, state = prompt, model.initial_state(1)
    chosen, nats, margins = [], [], []
    for _ in range(length):
        features, state = model(x, state)
        scores = outputs.scores(model, features[-1])
        noise = decoding.temperature * outputs.noise(scores, generator) if decoding.name == SAMPLE else 0.0
        items, values = outputs.best(scores + noise, 2)
        x = items[None, :, 0]
        chosen.append(x[0, 0])
        nats.append(outputs.log_probability(scores, items[:, 0])[0])
        margins.append(values[0, 0] - values[0, 1] if values.shape[1] > 1 else torch.full_like(values[0, 0], math.inf))
        if decoding.end is not None and int(x[0, 0]) == decoding.end:
            break
    return Continuation(torch.stack(chosen), torch.stack(nats), torch.stack(margins))


def _searched(model: SequenceModel, outputs: Any, prompt: Tensor, length: int, decoding: Decoding) -> Continuation:
    """The sequence with the highest score, of those that stay and those that ended.

    At each step the ``beam`` most probable ones stay. Each of these is a stream of the model.
    """
    beam, end = decoding.beam, decoding.end
    x, state = prompt, model.initial_state(1)
    nats, items = prompt.new_zeros(0, 1, dtype=model.dtype), prompt[:0]
    ended: list[Continuation] = []
    for _ in range(length):
        features, state = model(x, state)
        following, values = outputs.best(outputs.scores(model, features[-1]), beam + (end is not None))
        order = (nats.sum(0)[:, None] + values).flatten().argsort(descending=True, stable=True)
        parents = order // values.shape[1]
        written = torch.cat([items[:, parents], following.flatten(0, 1)[order][None]])
        scored = torch.cat([nats[:, parents], values.flatten()[order][None]])
        ends = torch.zeros_like(order, dtype=torch.bool) if end is None else written[-1] == end
        ended += [Continuation(written[:, n], scored[:, n], None) for n in ends[:beam].nonzero()[:, 0]]
        places = (~ends).nonzero()[:beam, 0]
        if not len(places):
            return max(ended, key=lambda one: decoding.score(one.log_probabilities))
        state = select_streams(state, parents[places])
        items, nats, x = written[:, places], scored[:, places], written[-1:, places]
        # A sequence only gets less probable, so that this is the best score that one of them may still have.
        most = float(nats.sum(0).max()) / length**decoding.normalisation
        if any(decoding.score(one.log_probabilities) >= most for one in ended):
            break
    unfinished = Continuation(items[:, 0], nats[:, 0], None)
    return max([*ended, unfinished], key=lambda one: decoding.score(one.log_probabilities))
