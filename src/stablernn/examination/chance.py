"""The score of a model that knows how often each output comes, and nothing of the past."""

import numpy as np

from stablernn.models.heads.base import Head
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.features import Features
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split

_ADDED = (0.01, 0.03, 0.1, 0.3, 1.0)  # to each count; the best of them


def by_chance(head: Head, split: Split | Sequences) -> float | None:
    """Mean loss in nats an item, each item predicted from the counts of all others; None: there is no loss.

    A network of a long training text knows the frequencies better than a short text tells them: one that is worse than
    this is worse than them by a margin.
    """
    targets = split.targets if isinstance(split, Split) else np.concatenate(split.targets)
    if isinstance(head, Features):
        return None
    if isinstance(head, Bernoulli):
        on = targets.sum(0, dtype=np.float64)
        both = np.stack([on, len(targets) - on])
        return min(float(_left_out(both, 2, added).sum()) for added in _ADDED)
    assert isinstance(head, FullSoftmax)
    counts = np.unique(targets, return_counts=True)[1].astype(np.float64)
    return min(float(_left_out(counts, len(head.weight), added)) for added in _ADDED)


def _left_out(counts: np.ndarray, outputs: int, added: float) -> np.ndarray:
    """Mean of -log p over all items, p from the counts without the item: counts (V, ...) -> (...)."""
    total = counts.sum(0)
    p = (counts - 1 + added) / (total - 1 + outputs * added)
    return -(counts * np.log(np.where(counts > 0, p, 1.0))).sum(0) / total
