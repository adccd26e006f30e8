"""Bounds of what truncation to k can change at each position of a text, for all k in one pass."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from stablernn.models.cells.state import State, map_state
from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import rebuild, tensors
from stablernn.stability.certificates import Certificate
from stablernn.stability.on_text.outputs import changes
from stablernn.stability.on_text.propagation import BoundPropagation, Reference, balls, propagation
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.errors import NotApplicableError

_STEP = 4096  # positions that are read at once on the way to those that are wanted

_EVERY = 64  # to so many k all log-probabilities are bounded, beyond to one in 2 k / 64: the last one holds in between


class Walk:
    """The layers of a model in float64 along one stream, its states and the bounds of all states."""

    def __init__(self, model: SequenceModel, certificate: Certificate) -> None:
        self.layers: list[BoundPropagation] = []
        for cell, proofs in zip(model.cells, certificate.proofs, strict=True):
            if proofs.box is None:
                raise NotApplicableError(f"not applicable: {proofs.candidates[0].reason}")
            self.layers.append(propagation(cell, proofs))
        self.restart()

    def restart(self) -> None:
        """To the zero state."""
        self.states: list[State] = [layer.cell.zeros(1) for layer in self.layers]
        self.boxes: list[State] = [map_state(lambda part: part[0], state) for state in self.states]

    def back(self, references: Sequence[Reference], position: int) -> None:
        """To before one of the positions that were last followed."""
        if position == 0:
            self.restart()
            return
        self.states = [map_state(lambda part: part[position - 1 : position], at.after) for at in references]
        self.boxes = [map_state(lambda part: part[position - 1], at.box) for at in references]

    def follow(self, x: Tensor, norms: bool = True) -> list[Reference]:
        """Further inputs (T, E) -> each layer's ``Reference``."""
        references, below = [], None
        for number, layer in enumerate(self.layers):
            at = layer.follow(x, self.states[number], self.boxes[number], below, norms)
            self.states[number] = map_state(lambda part: part[-1:], at.after)
            self.boxes[number] = map_state(lambda part: part[-1], at.box)
            references.append(at)
            x, below = at.after.h, at.box.h
        return references


@torch.no_grad()
def text_bounds(
    model: SequenceModel,
    certificate: Certificate,
    split: Split | Sequences,
    pieces: Sequence[range],
    most: int,
    enough: float = 0.0,
    on_position: Callable[[int], None] = lambda position: None,
) -> tuple[Tensor, Tensor]:
    """What truncation to k = 1, 2, ..., K can change, in nats: a bound for any output, and one for the targets.

    Both (K, N), and never larger for a larger k. The recurrent model and the one that is truncated to k differ by no
    more at that position, nor does the recurrent model from one that was k inputs earlier in any other state which the
    text allows; two such states by no more than twice that. A position that sees all its inputs has 0.

    Args:
        model: in float64.
        certificate: of it.
        split: a text is one stream; of sequences each begins at the zero state.
        pieces: of a text, the stretches of positions that are wanted.
        most: the largest k.
        enough: once every bound of a stretch is at most this, the last one stands for all larger k.
        on_position: called with the number of positions done.

    Raises:
        NotApplicableError: nothing is known of a cell.
    """
    walk, head, device = Walk(model, certificate), model.objective, model.device
    results: list[Tensor] = []
    done = 0

    def bound(references: Sequence[Reference], targets: Tensor, lead: int, from_start: bool) -> None:
        features = references[-1].after.h
        bounds = features.new_zeros(2, most, len(targets))
        for k, around in balls(walk.layers, references, most):
            begin = max(k, lead)
            if k == 0 or begin >= len(targets):
                continue
            if k > _EVERY and k % (2 * k // _EVERY):
                bounds[:, k - 1, begin:] = bounds[:, k - 2, begin:]
                continue
            ball = rebuild(around[-1], (part[begin - k :] for part in tensors(around[-1])))
            bounds[:, k - 1, begin:] = torch.stack(changes(head, features[begin:], targets[begin:], ball))
            if float(bounds[0, k - 1].max()) <= enough:
                bounds[:, k:] = bounds[:, k - 1, None]
                break
        if from_start:  # position t has t + 1 inputs
            exact = torch.arange(1, most + 1, device=device)[:, None] > torch.arange(len(targets), device=device)
            bounds.masked_fill_(exact, 0.0)
        results.append(bounds[:, :, lead:])

    for stretch in _stretches(model, walk, split, pieces, most):
        bound(*stretch)
        done += results[-1].shape[2]
        on_position(done)
    both = torch.cat(results, dim=2)
    return both[0], both[1]


def _stretches(
    model: SequenceModel, walk: Walk, split: Split | Sequences, pieces: Sequence[range], most: int
) -> Iterator[tuple[list[Reference], Tensor, int, bool]]:
    """References and targets of each stretch, how many positions only lead to it, and whether a stream begins there."""
    device = model.device
    if isinstance(split, Sequences):
        for number, sequence in enumerate(split):
            walk.restart()
            x = sequence.x.to(device, model.dtype if sequence.x.is_floating_point() else None)
            yield walk.follow(model.inputs(x)[:, 0]), sequence.y[:, 0].to(device), split.before(number), True
        return

    def ids(words: np.ndarray) -> Tensor:
        return torch.as_tensor(words.astype("int64"), device=device)

    reached, begun = 0, 0
    references: list[Reference] = []
    for piece in pieces:
        first = max(0, piece.start - most)
        if first < reached:
            walk.back(references, first - begun)
        for start in range(reached, first, _STEP):
            walk.follow(model.inputs(ids(split.inputs[start : min(start + _STEP, first)])), norms=False)
        references = walk.follow(model.inputs(ids(split.inputs[first : piece.stop])))
        yield references, ids(split.targets[first : piece.stop]), piece.start - first, first == 0
        reached, begun = piece.stop, first
