"""The adaptive softmax for large vocabularies (Grave et al. 2017): rare words in clusters of their own.

Types are ranked by their frequency in the train split. A first softmax is over the most frequent ones and one entry
for each cluster of the others; a word of a cluster takes a second one over its cluster, on features that are projected
to fewer dimensions, the fewer the rarer the cluster:

    p(w) = p_first(w)    or    p(w) = p_first(cluster of w) p_cluster(w)

Both are ``FullSoftmax``, so gradients, memory and precision are its own. Axes: N positions, D features, V types.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from stablernn.models.heads.base import Head
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.precision import Precision
from stablernn.utils.errors import ConfigurationError


class AdaptiveSoftmax(Head):
    """Of V types, those up to the first cutoff in the first softmax, those between two cutoffs in one cluster.

    Args:
        types: vocabulary size V.
        hidden_size: feature size D.
        tied_to: refused if not None: the rare words' rows have fewer than D entries.
        cutoffs: ranks at which a cluster begins, ascending, between 1 and V - 1.
        shrink: cluster number i (1, 2, ...) sees max(1, D // shrink**i) dimensions.
    """

    needs_frequencies = True
    fixed_shapes = False
    ranks: Tensor  # (V,): 0 is the most frequent type
    begins: Tensor

    def __init__(
        self,
        types: int,
        hidden_size: int,
        tied_to: nn.Embedding | None = None,
        *,
        cutoffs: Sequence[int],
        shrink: int = 4,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if not bounds or bounds != sorted(set(bounds)) or bounds[0] < 1 or bounds[-1] >= types:
            raise ConfigurationError(
                f"head.softmax.cutoffs={bounds} must be ascending ranks between 1 and {types - 1}: the vocabulary has "
                f"{types:,} types; for one as small as this choose head=full"
            )
        if shrink < 1:
            raise ConfigurationError(f"head.softmax.shrink={shrink} must be a whole number >= 1")
        if tied_to is not None:
            raise ConfigurationError("model.tied=true needs head=full: head=adaptive has no one matrix of all words")
        self.types = types
        self.frequent = bounds[0]
        sizes = [high - low for low, high in pairwise([*bounds, types])]
        widths = [max(1, hidden_size // shrink**number) for number in range(1, len(sizes) + 1)]
        self.first = FullSoftmax(self.frequent + len(sizes), hidden_size)
        self.projections = nn.ModuleList(nn.Linear(hidden_size, width, bias=False) for width in widths)
        self.clusters = nn.ModuleList(FullSoftmax(size, width) for size, width in zip(sizes, widths, strict=True))
        # Saved with the weights, which mean nothing without it.
        self.register_buffer("ranks", torch.arange(types))
        self.register_buffer("begins", torch.tensor(bounds), persistent=False)

    @property
    def outputs(self) -> int:
        return self.types

    @property
    def precision(self) -> Precision:  # type: ignore[override]
        return self.first.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        for softmax in (self.first, *self.clusters):
            softmax.precision = precision  # type: ignore[assignment]

    def initialise(self, bound: float) -> None:
        for softmax in (self.first, *self.clusters):
            softmax.initialise(bound)  # type: ignore[operator]

    def arrange(self, frequencies: Tensor) -> None:
        order = torch.argsort(frequencies, descending=True, stable=True)
        self.ranks.copy_(torch.argsort(order))  # the inverse permutation

    def logits(self, features: Tensor) -> Tensor:
        first = self.first.logits(features).log_softmax(-1)
        parts = [first[..., : self.frequent]]
        for number, (projection, cluster) in enumerate(self._parts()):
            within = cluster.logits(projection(features)).log_softmax(-1)
            parts.append(within + first[..., self.frequent + number, None])
        return torch.cat(parts, dim=-1)[..., self.ranks]

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        flat = features.reshape(-1, features.shape[-1])
        entries, members = self._route(targets.reshape(-1))
        total = self.first(flat, entries)
        for (projection, cluster), (rows, inside) in zip(self._parts(), members, strict=True):
            if len(rows):
                total = total + cluster(projection(flat[rows]), inside)
        return total

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        entries, members = self._route(targets)
        result = self.first.log_probabilities(features, entries)
        for (projection, cluster), (rows, inside) in zip(self._parts(), members, strict=True):
            if len(rows):
                result[rows] += cluster.log_probabilities(projection(features[rows]), inside)
        return result

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """A rare word's log-probability is the sum of two, each of which moves by its own softmax's bound at most."""

        def within(projection: nn.Linear, cluster: FullSoftmax) -> float:
            by = projection.weight.detach().double()
            return cluster.sensitivity(lambda rows: diameter(rows @ by))

        return self.first.sensitivity(diameter) + max(within(*part) for part in self._parts())

    def _parts(self) -> Iterator[tuple[nn.Linear, FullSoftmax]]:
        yield from zip(self.projections, self.clusters, strict=True)  # type: ignore[misc]

    def _route(self, targets: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Entries (N) in the first softmax, and for each cluster the positions of its words and their entries in it."""
        ranks = self.ranks[targets]
        number = torch.bucketize(ranks, self.begins, right=True)  # 0: frequent
        entries = ranks.where(number == 0, self.frequent - 1 + number)
        members = []
        for cluster, begin in enumerate(self.begins.tolist(), 1):
            rows = (number == cluster).nonzero()[:, 0]
            members.append((rows, ranks[rows] - begin))
        return entries, members
