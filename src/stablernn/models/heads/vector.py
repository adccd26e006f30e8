"""What heads of vectors have in common: each output j has a row V_j, and a loss of its own."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from stablernn.models.heads.base import Head


class VectorHead(Head):
    """Outputs V h + c of n numbers; the loss of an item is the sum over its outputs.

    Args:
        outputs: n.
        hidden_size: D.
    """

    def __init__(self, outputs: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, hidden_size))
        self.bias = nn.Parameter(torch.zeros(outputs))

    @abstractmethod
    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of each output, of V h + c and targets of the same shape and type (..., n)."""

    def initialise(self, bound: float) -> None:
        nn.init.uniform_(self.weight, -bound, bound)

    def logits(self, features: Tensor) -> Tensor:
        """V h + c: (..., D) -> (..., n)."""
        return nn.functional.linear(features, self.weight, self.bias)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Summed loss, a float64 scalar: features (..., D), targets (..., n)."""
        return self._each(features, targets).sum(dtype=torch.float64)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Loss of each item, with gradient: (..., D), (..., n) -> (...)."""
        return self._each(features, targets).sum(-1)

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        """The loss of each item with a minus, without gradient: features (N, D), targets (N, n) -> (N)."""
        return -self.losses(features, targets)

    def _each(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(features)
        return self.each(logits, targets.to(logits.dtype))
