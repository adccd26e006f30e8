"""Certificates: what is proven about a trained model, whatever it was trained under.

Let every cell be λ-contractive in a norm of its state, and H bound that norm over the states reached from zero. The
true state and the truncated one, h_t^(k), come from states at time t - k that differ by at most H, and see the same k
inputs:

    ‖h_t - h_t^(k)‖ <= λ^k H          (Miller & Hardt 2018, section 3)

With logits z = V h + c of a softmax any log-probability moves by at most max_{i,j} |(V_i - V_j) δh| <= D_V ‖δh‖, where
D_V is the largest distance of two rows of V in the dual norm. So D_V λ^k H bounds the change of the log-perplexity, in
nats. Other heads have a D_V of their own (``Head.sensitivity``). In a stack the input of a layer moves too, and the
bounds of the layers follow each other:

    e_l(0) = H_l,    e_l(j) = λ_l e_l(j-1) + L_l e_{l-1}(j)        L_l: how far an input of the layer moves its state
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import torch

from stablernn.models.cells.base import Cell
from stablernn.models.dropout import Dropout
from stablernn.models.sequence_model import Frames, SequenceModel
from stablernn.stability.constraints.base import constrained_cells
from stablernn.stability.norm_choice import alike, best, moved_above, moved_head, times
from stablernn.stability.proofs.gates import Box, Seen
from stablernn.stability.proofs.norms import OUTWARD, CellProofs, Contraction, StateNorm
from stablernn.stability.proofs.prove import prove
from stablernn.utils.errors import ConfigurationError, NotApplicableError

EPSILONS = (1.0, 0.1, 0.01, 0.001)  # nats
CONTEXTS = (1, 2, 5, 10, 20, 35, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
_OVERFLOWS = "its rate is below 1, but a bound of its states or of the log-probabilities overflows"
_UNBOUNDED = "no bound is known of its inputs, the states of the layer below"
_SEARCHED = "best norm"  # the name of proofs that were not searched for
SEARCH_UNITS = (
    512  # the best norms of an RNN are searched for in layers of so many units: at 200 in 3 s, at 512 in 40 s
)
NO_BOUND = "not applicable: a squared error has no bounded change; what is bounded is the change of any output"
_MOST_CONTEXT = 10_000_000


@dataclass(frozen=True)
class Certificate:
    """What is proven of a model.

    Attributes:
        layers: for each cell the proof with which the gap is bounded, or the best candidate. Its rate may be above the
            least that is proven: some room makes the norm's weights, and so H, far smaller.
        proofs: all candidates, by layer.
        decoder: D_V in the dual norm of the last layer's; infinite where nothing is proven.
        bounds_loss: whether D_V is that of the loss; else it is that of any output, and there is none of the loss.
        beside: another one of the same model; of their bounds at a k the lesser one counts.
    """

    layers: tuple[Contraction, ...]
    proofs: tuple[CellProofs, ...]
    decoder: float
    bounds_loss: bool = True
    beside: "Certificate | None" = None
    directions: ClassVar[int] = 1

    @property
    def holds(self) -> bool:
        """Whether stability is proven."""
        return all(layer.holds for layer in self.layers)

    @property
    def rate(self) -> float:
        """λ: the least rate that is proven, of the layer where it is largest."""
        return max(min(candidate.rate for candidate in proofs.candidates) for proofs in self.proofs)

    def state_gaps(self) -> Iterator[float]:
        """Bounds of ‖h_t - h_t^(k)‖ of the last layer, in its norm, for k = 0, 1, 2, ..."""
        gaps = [layer.radius for layer in self.layers]
        gains = self._gains()
        while True:
            yield gaps[-1]
            below = 0.0
            for number, layer in enumerate(self.layers):
                gaps[number] = layer.rate * gaps[number] + times(gains[number], below)
                below = gaps[number]

    def _gains(self) -> list[float]:
        """L_l of each layer; 0 for the first, whose inputs are what they are."""
        return [0.0] + [
            _input_gain(layer, below.norm) if below.norm else math.inf
            for below, layer in zip(self.layers, self.layers[1:], strict=False)
        ]

    def gap(self, k: int) -> float:
        """Bound of the change of any log-probability, and so of the log-perplexity, under truncation to k; nats."""
        return self.output_gap(k) if self.bounds_loss else math.inf

    def output_gap(self, k: int) -> float:
        """``gap``; where the loss has no such bound, that of the change of any output."""
        own = self._moved(k) * (1 + OUTWARD) if self.holds else math.inf
        return own if self.beside is None else min(own, self.beside.output_gap(k))

    def _moved(self, k: int) -> float:
        return self.decoder * self._state_gap(k)

    def state_gap(self, k: int) -> float:
        """Bound of ‖h_t - h_t^(k)‖_2 of the last layer."""
        own = self._apart(k) * (1 + OUTWARD) if self.holds else math.inf
        return own if self.beside is None else min(own, self.beside.state_gap(k))

    def _apart(self, k: int) -> float:
        norm = self.layers[-1].norm
        return math.inf if norm is None else norm.hidden * self._state_gap(k)

    def _state_gap(self, k: int) -> float:
        """The k-th of ``state_gaps``."""
        if len(self.layers) == 1:
            return self.layers[0].radius * self.layers[0].rate ** k
        return next(islice(self.state_gaps(), k, None))

    def _at_least(self, k: int) -> float:
        """No bound of ``state_gaps`` from 1 to k is below this: what each layer alone leaves at the last one."""
        least, through = 0.0, 1.0
        for layer, gain in zip(reversed(self.layers), reversed(self._gains()), strict=True):
            least = max(least, through * layer.radius * layer.rate**k)
            through = times(through, gain)
        return least

    def context(self, epsilon: float) -> int | None:
        """k(ε): the least k for which ``gap`` is at most ε nats; None if it is not proven or above ten million."""
        known = [self._context(epsilon), self.beside and self.beside.context(epsilon)]
        return min((k for k in known if k is not None), default=None)

    def _context(self, epsilon: float) -> int | None:
        if not self.holds or not self.bounds_loss:
            return None
        low, high = -1, 1
        if len(self.layers) > 1 and self.directions == 1:
            scale = self.decoder * (1 + OUTWARD)
            if min(self.layers[-1].radius, self._at_least(_MOST_CONTEXT)) * scale > epsilon:
                return None
            steps = (k for k, state in enumerate(islice(self.state_gaps(), _MOST_CONTEXT)) if state * scale <= epsilon)
            return next(steps, None)
        alone = replace(self, beside=None)
        while alone.gap(high) > epsilon:
            low, high = high, 2 * high
            if high > 2 * _MOST_CONTEXT:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if alone.gap(middle) <= epsilon else (middle, high)
        return high if high <= _MOST_CONTEXT else None

    def summary(self) -> dict[str, Any]:
        """As JSON: for run records and tables."""
        last = self.layers[-1]
        result: dict[str, Any] = {
            "certified": self.holds,
            "norm": " / ".join(layer.name for layer in self.layers),
            "rate": finite(self.rate),
            "bounds": [{name: finite(bound) for name, bound in proofs.bounds.items()} for proofs in self.proofs],
            "attempts": [
                [
                    {
                        "norm": candidate.name,
                        "rate": finite(candidate.rate),
                        "certified": candidate.holds,
                        "reason": candidate.reason,
                    }
                    for candidate in _least_of_each(proofs.candidates)
                ]
                for proofs in self.proofs
            ],
        }
        if self.holds:
            result |= {
                "gap_rate": max(layer.rate for layer in self.layers),
                "radius": last.radius,
                "decoder": self.decoder,
                "context": {f"{epsilon:g}": self.context(epsilon) for epsilon in EPSILONS},
                "gap": {str(k): finite(self.gap(k)) for k in CONTEXTS},
            }
            if not self.bounds_loss:
                result["loss"] = NO_BOUND
        else:
            result["reason"] = "; ".join(
                self._where(number) + (layer.reason or _OVERFLOWS)
                for number, layer in enumerate(self.layers)
                if not layer.holds
            )
        return result

    def _where(self, number: int) -> str:
        """Which of several cells, before a reason."""
        return f"layer {number + 1}: " if len(self.layers) > 1 else ""


def summarise(
    model: SequenceModel, certificate: Certificate | None = None, search_units: int = SEARCH_UNITS
) -> dict[str, Any]:
    """The summary of a certificate, by default ``certify``'s, and with dropout also what holds for the inputs of
    training; or why there is none.
    """
    try:
        certificate = certificate or certify(model, search_units=search_units)
    except NotApplicableError as error:
        return {"certified": None, "rate": None, "norm": None, "reason": str(error)}
    summary = certificate.summary()
    if model.input_dropout or (len(model.backbone.cells_by_layer) > 1 and _between(model)):
        training = certify(model, dropout=True, search_units=search_units)
        summary["training"] = {"certified": training.holds, "rate": finite(training.rate)}
    return summary


@torch.no_grad()
def certify(model: SequenceModel, dropout: bool = False, search_units: int = SEARCH_UNITS) -> Certificate:
    """The best certificate that can be proven for a model.

    Args:
        model: what its first cell can see are the rows of its embedding, or the box of its frames.
        dropout: for the inputs that training shows to the cell, with entries removed and the others multiplied by
            1 / (1 - p), instead of those at inference.
        search_units: proofs of an RNN that take a search are tried in layers of at most so many units; 0: in none.

    Raises:
        NotApplicableError: the model has no cells.
        ConfigurationError: it is no model of this package; says how to make one of a PyTorch module.

    >>> import torch, stablernn
    >>> rnn = torch.nn.RNN(4, 5)
    >>> _ = rnn.weight_hh_l0.data.mul_(0.5 / torch.linalg.matrix_norm(rnn.weight_hh_l0.data, 2))
    >>> model = stablernn.from_torch(torch.nn.Embedding(11, 4), rnn, torch.nn.Linear(5, 11))
    >>> certificate = stablernn.certify(model)
    >>> certificate.holds, certificate.rate <= 0.5001
    (True, True)
    >>> certificate.gap(certificate.context(0.01)) <= 0.01
    True
    """
    if not isinstance(model, SequenceModel):
        raise ConfigurationError(
            f"certify takes a SequenceModel, not {type(model).__name__}: make one of a PyTorch network with "
            "stablernn.from_torch(embedding, rnn, decoder)"
        )
    if model.backbone.unproven:
        refused = Contraction("none", math.inf, model.backbone.unproven)
        return Certificate((refused,), (CellProofs([refused], {}),), math.inf)
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        refused = Contraction("none", math.inf, "its weights are not all finite numbers")
        return _certificate(model, [CellProofs([refused], {}) for _ in constrained_cells(model)])
    proofs: list[CellProofs] = []
    found: list[list[Contraction]] = []
    cells, directions = [cell for cell, _ in constrained_cells(model)], model.backbone.directions
    for number, (cell, inputs) in enumerate(_seen(model)):
        layer = number // directions
        under = slice((layer - 1) * directions, layer * directions)  # the layer below
        if layer and not all(one.bounded for one in cells[under]):
            below = _states_below(proofs[under])
            if below is None:
                proofs.append(CellProofs([Contraction("none", math.inf, _UNBOUNDED)], {}))
                found.append([])
                continue
            inputs = below
        rate = (_between(model) if layer else model.input_dropout) if dropout else 0.0
        try:
            proofs.append(prove(cell, inputs, rate))
        except torch.linalg.LinAlgError as error:  # type: ignore[reportPrivateImportUsage]
            proofs.append(CellProofs([_defeated(error)], {}))
        search = proofs[-1].searched
        found.append(_searched(cell.hidden_size, search_units, search) if search_units and search else [])
    both = [replace(plain, candidates=[*plain.candidates, *more]) for plain, more in zip(proofs, found, strict=True)]
    certificate = _certificate(model, both)
    if not any(found) or not certificate.holds:
        return certificate
    # The norms that suit 0.01 nats best need not do so at every k, nor together in a stack.
    return _also(certificate, _certificate(model, proofs))


def _between(model: SequenceModel) -> float:
    """The rate of the dropout between the layers."""
    return next((part.p for part in model.backbone.modules() if isinstance(part, Dropout)), 0.0)


def _certificate(model: SequenceModel, proofs: Sequence[CellProofs]) -> Certificate:
    """By the norms that suit each layer, and beside it, where they are others, by those that suit the layers above."""
    plain = _composed(model, proofs, through=False)
    if len(proofs) == model.backbone.directions or not plain.holds:
        return plain
    through = _composed(model, proofs, through=True)
    same = all(one is other for one, other in zip(through.layers, plain.layers, strict=True))
    return plain if same or not through.holds else _also(through, plain)


def _also(certificate: Certificate, other: Certificate) -> Certificate:
    """With another one of the same model behind those that are beside it."""
    beside = certificate.beside
    return replace(certificate, beside=other if beside is None else _also(beside, other))


def _composed(model: SequenceModel, proofs: Sequence[CellProofs], through: bool) -> Certificate:
    """One contraction a cell, from the last layer downwards; ``through``: those below by what they move the head."""
    directions, head = model.backbone.directions, model.objective
    layers: list[Contraction] = []
    spreads: list[float] = []  # what a difference of size 1 of each cell moves, at most
    for number, proven in reversed(list(enumerate(proofs))):
        if number >= len(proofs) - directions:
            spread = partial(moved_head, head, direction=number % directions, directions=directions)
        elif through:
            beside = directions - 1 - number % directions  # cells of its own layer, chosen before it
            above = list(zip(layers, spreads, strict=True))[beside : beside + directions]
            spread = partial(moved_above, above, direction=number % directions)
        else:
            spread = alike
        chosen, moved = best(proven.candidates, spread)
        layers.insert(0, chosen)
        spreads.insert(0, moved)
    certificate = Certificate(tuple(layers), tuple(proofs), spreads[-directions], head.bounds_loss)
    if directions == 2:
        from stablernn.stability.both_directions import BothWays  # which imports this module

        certificate = BothWays(**vars(certificate), decoder_back=spreads[-1])
    if certificate.holds and not all(math.isfinite(certificate.output_gap(k)) for k in (0, 1)):
        refused = replace(layers[-1], reason=_OVERFLOWS, norm=None)
        return replace(certificate, layers=(*layers[:-1], refused), decoder=math.inf)
    return certificate


def by_norm(model: SequenceModel, certificate: Certificate) -> dict[str, Certificate]:
    """What each kind of norm proves alone of a model of one layer; of others nothing is said."""
    proofs, *others = certificate.proofs
    if others:
        return {}
    result = {}
    for name in dict.fromkeys(candidate.name for candidate in proofs.candidates):
        candidates = [candidate for candidate in proofs.candidates if candidate.name == name]
        chosen, spread = best(candidates, partial(moved_head, model.objective, direction=0, directions=1))
        alone = (replace(proofs, candidates=candidates),)
        result[name] = Certificate((chosen,), alone, spread, certificate.bounds_loss)
    return result


def _searched(units: int, most: int, search: Callable[[], list[Contraction]]) -> list[Contraction]:
    if units > most:
        return [Contraction(_SEARCHED, math.inf, f"not computed: {units} units are more than {most}")]
    try:
        return search()
    except torch.linalg.LinAlgError as error:  # type: ignore[reportPrivateImportUsage]
        return [_defeated(error)]


def _defeated(error: Exception) -> Contraction:
    return Contraction("none", math.inf, f"its matrices defeat the decompositions of a proof ({error})")


def _states_below(proofs: Sequence[CellProofs]) -> Box | None:
    """All outputs of cells whose states are not within [-1, 1] by themselves; None: no bound of them is known."""
    limit = max(math.inf if one.box is None else float(one.box.h.max()) for one in proofs)
    return Box(-limit, limit) if math.isfinite(limit) else None


def _seen(model: SequenceModel) -> Iterator[tuple[Cell, Seen]]:
    """Each cell with all the inputs that it can see."""
    for number, (cell, inputs) in enumerate(constrained_cells(model)):
        frames, first = model.inputs, number < model.backbone.directions
        yield cell, Box(frames.low, frames.high) if first and isinstance(frames, Frames) else inputs


def _input_gain(layer: Contraction, below: StateNorm) -> float:
    """L of a layer, from the norm of the state below; infinite where it overflows."""
    gain = layer.input_gain(1 / below.weights.h)
    return gain if math.isfinite(gain) else math.inf


def finite(value: float) -> float | None:
    """As JSON has it: None for infinity."""
    return value if math.isfinite(value) else None


def _least_of_each(candidates: Sequence[Contraction]) -> list[Contraction]:
    """Of each kind of norm the candidate with the least rate."""
    least: dict[str, Contraction] = {}
    for candidate in candidates:
        if candidate.name not in least or candidate.rate < least[candidate.name].rate:
            least[candidate.name] = candidate
    return list(least.values())
