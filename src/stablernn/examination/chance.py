"""The score of a model that knows how often each output comes, and nothing of the past."""

import math

import numpy as np

from stablernn.models.heads.base import Head
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.features import Features
from stablernn.models.heads.regression import Regression
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split

_ADDED = (0.01, 0.03, 0.1, 0.3, 1.0)  # to each count; the best of them


def by_chance(head: Head, split: Split | Sequences) -> float | None:
    """Mean loss in nats an item of the second half, predicted from the counts of the first; None: there is no loss.

    The counts of so few items are worse than those of a training text, and those of the same items would be better than
    any frequencies, as a topic repeats its words: a network that is worse than this knows no frequencies either. One
    that is worse than a guess among all outputs alike knows nothing at all.
    """
    if isinstance(head, Features):
        return None
    targets = split.targets if isinstance(split, Split) else np.concatenate(split.items)
    seen, to_come = targets[: len(targets) // 2], targets[len(targets) // 2 :]
    if isinstance(head, Regression):  # the best constant of the first half
        return float(np.square(to_come - seen.mean(0, dtype=np.float64)).sum() / len(to_come))
    if isinstance(head, Bernoulli):
        counts = [np.stack([part.sum(0), (1 - part).sum(0)]).astype(np.float64) for part in (seen, to_come)]
        guess = head.outputs * math.log(2)
    else:
        counts = [np.bincount(part, minlength=head.outputs).astype(np.float64) for part in (seen, to_come)]
        guess = math.log(head.outputs)
    before, after = counts
    by_counts = (float(-(after * np.log(_smoothed(before, added))).sum()) / len(to_come) for added in _ADDED)
    return min(guess, *by_counts)


def _smoothed(counts: np.ndarray, added: float) -> np.ndarray:
    """Probabilities of V outcomes: (V, ...) -> (V, ...)."""
    return (counts + added) / (counts.sum(0) + len(counts) * added)
