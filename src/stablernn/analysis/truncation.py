"""What a recurrent model loses when it sees the last k words alone."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stablernn.data.splits import Split
from stablernn.models.language_model import SequenceModel
from stablernn.models.truncated import truncations
from stablernn.models.unroll import Recurrent
from stablernn.training.evaluate import Score

_ROWS_A_CHUNK = 8192  # feature vectors that the softmax scores at once


@torch.no_grad()
def score_truncations(model: SequenceModel, split: Split, lengths: Sequence[int]) -> dict[int, Score]:
    """Score a split by the k-truncated models of ``model``, for every k of ``lengths``.

    One pass of depth max k over the positions gives the states of all of them, and one sweep over the vocabulary
    scores them together, so a further k costs little more than its share of the softmax.

    Args:
        model: its weights count; whether its own backbone is recurrent or feed-forward does not.
        split: every token of it is scored exactly once, by k words of context or all there are before it.
        lengths: the k.
    """
    was_training = model.training
    model.eval()
    device = model.inputs.weight.device
    inputs, targets = (torch.as_tensor(ids.astype("int64"), device=device) for ids in (split.inputs, split.targets))
    wanted = sorted(set(lengths))
    step = max(wanted[-1], _ROWS_A_CHUNK // len(wanted))
    nats = torch.zeros(len(wanted), dtype=torch.float64, device=device)
    for start in range(0, len(split), step):
        first = max(0, start - wanted[-1] + 1)
        x = model.inputs(inputs[first : start + step, None])
        tops = [states[-1].h[start - first :, 0] for _, states in truncations(model.backbone.cells, x, wanted)]
        y = targets[start : start + step]
        found = model.objective.log_probabilities(torch.cat(tops), y.repeat(len(wanted)))
        nats -= found.view(len(wanted), -1).sum(1, dtype=torch.float64)
    model.train(was_training)
    return {k: Score(float(value), len(split)) for k, value in zip(wanted, nats, strict=True)}


@dataclass(frozen=True)
class Gap:
    """What truncation to k changes, in nats.

    Attributes:
        log_perplexity: its change, truncated minus recurrent; negative where the truncated model predicts better.
        largest: the largest change of the log-probability of any one of the words.
    """

    log_perplexity: float
    largest: float


@torch.no_grad()
def measure_gaps(model: SequenceModel, split: Split, lengths: Sequence[int]) -> dict[int, Gap]:
    """The gaps between the recurrent model of these cells and its k-truncated models, on all words of a split.

    Args:
        model: its weights count; in float64, so that differences far below float32's rounding are seen.
        split: as short as its states of depth max k fit into memory.
        lengths: the k.
    """
    double = copy.deepcopy(model).double().eval()
    device = double.inputs.weight.device
    inputs, targets = (torch.as_tensor(ids.astype("int64"), device=device) for ids in (split.inputs, split.targets))
    x = double.inputs(inputs[:, None])
    cells = list(double.backbone.cells)
    backbone = Recurrent(cells)
    whole, _ = backbone(x, backbone.initial_state(1))
    features = [whole[:, 0]] + [states[-1].h[:, 0] for _, states in truncations(cells, x, lengths)]
    found = double.objective.log_probabilities(torch.cat(features), targets.repeat(len(features)))
    recurrent, *truncated = found.view(len(features), -1)
    return {
        k: Gap(float((recurrent - values).mean()), float((recurrent - values).abs().max()))
        for k, values in zip(sorted(set(lengths)), truncated, strict=True)
    }
