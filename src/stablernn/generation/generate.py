"""What a trained run generates, recurrent and as the feed-forward network of its last k inputs, side by side."""

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stablernn.analysis.conversion.choice import choose
from stablernn.examination.api import certify_on, truncate
from stablernn.generation.decoding import BEAM, Continuation, Decoding, go_on
from stablernn.models.backbone import CellStack
from stablernn.models.feed_forward import FeedForward
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.certificates import certify
from stablernn.tasks.base import Generative
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import EOS, Corpus
from stablernn.tasks.transduction import Pairs
from stablernn.training.trained import Trained
from stablernn.utils.errors import ConfigurationError, NotApplicableError

_ROUNDING = 1e-9  # nats, far above that of float64
_ITEMS = 500  # on which a k is chosen


@dataclass(frozen=True)
class Generated:
    """What a model went on with, and what is proven of that.

    Attributes:
        prompt: ids (T,) or frames (T, E).
        recurrent: of the recurrent model; None: the model is feed-forward by construction.
        feedforward: of the model that sees the last k inputs; None: it has no cells to truncate, and sees all inputs.
        k: inputs.
        reason: why this k.
        certified: nats that truncation to k changes any log-probability at most, on any input; infinite: not proven.
        bounds: (N,), the same at each item, for the inputs before it.
        proven: so many items at the beginning are proven to be the same; None: of a beam nothing is.
    """

    prompt: Tensor
    recurrent: Continuation | None
    feedforward: Continuation | None = None
    k: int | None = None
    reason: str = ""
    certified: float = math.inf
    bounds: Tensor | None = None
    proven: int | None = None

    @property
    def differ(self) -> int | None:
        """The first item in which they differ, from 0; None: they are the same."""
        if self.recurrent is None or self.feedforward is None:
            return None
        shorter = min(len(self.recurrent.items), len(self.feedforward.items))  # one of them may have ended
        unequal = (self.recurrent.items[:shorter] != self.feedforward.items[:shorter]).reshape(shorter, -1).any(1)
        return int(unequal.nonzero()[0]) if bool(unequal.any()) else None


def generate(
    trained: Trained,
    decoding: Decoding,
    length: int,
    prompt: str | None = None,
    k: int | None = None,
    epsilon: float = 0.01,
    k_max: int = 64,
    end: str | None = None,
) -> Generated:
    """Continue a text or a piece with the best weights of a run.

    Args:
        trained: a finished run.
        decoding: how items are chosen.
        length: items.
        prompt: what they follow, as the task reads it.
        k: inputs that the feed-forward model sees; None: those with which it replaces the recurrent one within
            ``epsilon`` nats an item, proven, else measured, up to ``k_max``.
        end: the word or character after which nothing follows, in the place of ``decoding.end``; the end of a line as
            it is written in a prompt.

    Raises:
        ConfigurationError: nothing can be generated from this task, or an option has no meaning for it.
        RecordError: the run's weights or data are not here.
    """
    for option, value in (("length", length), ("k", k), ("k_max", k_max)):
        if value is not None and value < 1:
            raise ConfigurationError(f"{option}={value} must be a whole number >= 1")
    if not epsilon > 0:
        raise ConfigurationError(f"epsilon={epsilon} must be a positive number of nats")
    task = trained.corpus
    if not isinstance(task, Generative):
        raise ConfigurationError(
            f"run={trained.record.id}: nothing can be generated from {task.name}, as its models do not read what they "
            "predict: name a run on words, characters, music or sources with targets"
        )
    begins = task.prompt(prompt).to(trained.device)
    if isinstance(task, Pairs):
        decoding = replace(decoding, end=task.end)
    if end is not None:
        decoding = replace(decoding, end=_one_id(task, end))
    if decoding.normalisation and (decoding.end is None or decoding.name != BEAM):
        raise ConfigurationError(
            f"normalisation={decoding.normalisation} compares texts of different lengths: it needs decoding={BEAM} and "
            "end=WORD, after which nothing follows"
        )
    model = trained.model("best")
    if not isinstance(model.backbone, CellStack):
        if k is not None:
            raise ConfigurationError(f"k={k}: {type(model.backbone).__name__} has no cells to truncate: leave k out")
        own, sees = go_on(model.double(), _of(model, begins), length, decoding), model.backbone.receptive_field
        return Generated(begins[:, 0], own) if sees is None else Generated(begins[:, 0], None, own, sees)
    reason = "as asked for"
    if k is None and isinstance(model.backbone, FeedForward):
        k, reason = model.backbone.k, "it was trained as a feed-forward model of so many inputs"
    elif k is None:
        choice = choose(model, task.splits["valid"].first(_ITEMS), epsilon, None, "auto", k_max)
        k, reason = choice.k, choice.reason
    return beside(model, begins, length, decoding, k, reason)


def beside(
    model: SequenceModel, prompt: Tensor, length: int, decoding: Decoding, k: int, reason: str = ""
) -> Generated:
    """The recurrent model of these cells and its truncation to k, after the same prompt and with the same noise.

    Both compute in float64. While both wrote the same, they have seen the same, so that a score of one and of the other
    differ by no more than is proven: an item that was better than all others by more is the same.

    Args:
        model: with cells.
        prompt: ids (T, 1) or frames (T, 1, E).
    """
    model = copy.deepcopy(model).double()
    prompt = _of(model, prompt)
    whole = SequenceModel(model.inputs, Recurrent(list(model.cells)), model.objective).eval()
    recurrent = go_on(whole, prompt, length, decoding)
    feedforward = go_on(truncate(model, k), prompt, length, decoding)
    certified = certify(model).gap(k)
    bounds = torch.full_like(recurrent.log_probabilities, certified)
    try:
        text = torch.cat([prompt[:, 0], recurrent.items]).cpu().numpy()
        on_text = certify_on(model, _as_split(text, len(bounds)), k_max=k).bounds[-1, -len(bounds) :]
        bounds = bounds.minimum(on_text.to(bounds))
    except NotApplicableError:
        pass
    proven = None
    if recurrent.margins is not None:
        # The bounds of one full softmax are those of the difference of two scores. Elsewhere each score may move by as
        # much; and the score of a switch by twice as much as log σ of its less probable side.
        moved = bounds if isinstance(model.objective, FullSoftmax) else 2 * bounds
        sure = recurrent.margins > moved + _ROUNDING
        proven = int(sure.cumprod(0).sum())
    return Generated(prompt[:, 0], recurrent, feedforward, k, reason, certified, bounds, proven)


def _one_id(task: Generative, end: str) -> int:
    """Of a word or character; raises ConfigurationError where ``end`` is none."""
    if isinstance(task, Pairs):
        raise ConfigurationError(f"end={end!r:.60}: a target of {task.name} ends with its own mark: leave end out")
    if not isinstance(task, Corpus):
        raise ConfigurationError(f"end={end!r:.60}: music has no frame that ends it: leave end out")
    try:
        _, *ids = task.prompt("\n" if end == EOS else end)[:, 0].tolist()  # every prompt begins with <eos>
    except ConfigurationError:
        ids = []
    if len(ids) != 1:
        unit = "character" if task.separator == "" else "word"
        raise ConfigurationError(f"end={end!r:.60} must be one {unit} of {task.name}, or {EOS}, the end of a line")
    return ids[0]


def _of(model: SequenceModel, prompt: Tensor) -> Tensor:
    return prompt.to(model.dtype) if prompt.is_floating_point() else prompt


def _as_split(text: np.ndarray, items: int) -> Sequences:
    """One sequence, of which the last ``items`` are predicted: what comes before need be no output."""
    return Sequences((text[:-1],), (text[1:],), scored=items)
