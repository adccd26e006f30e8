"""Real numbers, scored by their squared error."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from stablernn.models.heads.base import Head


class Regression(Head):
    """Prediction V h + c of n numbers; the loss is the squared error, summed over them.

    Up to a constant it is the negative log-likelihood in nats of independent normal laws with variance 1/2, so that it
    stands where other heads have nats.

    Args:
        outputs: n.
        hidden_size: D.
    """

    bounds_loss: ClassVar[bool] = False

    def __init__(self, outputs: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, hidden_size))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def initialise(self, bound: float) -> None:
        nn.init.uniform_(self.weight, -bound, bound)

    def logits(self, features: Tensor) -> Tensor:
        """The predictions, (..., D) -> (..., n)."""
        return nn.functional.linear(features, self.weight, self.bias)

    def distribution(self, features: Tensor) -> Tensor:
        """The predictions, (..., D) -> (..., n): what stands in the place of log-probabilities."""
        return self.logits(features)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Summed squared error, a float64 scalar: features (..., D), targets (..., n)."""
        return self._errors(features, targets).square().sum(dtype=torch.float64)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Squared error of each item, with gradient: (..., D), (..., n) -> (...)."""
        return self._errors(features, targets).square().sum(-1)

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        """The squared error of each item with a minus, without gradient: features (N, D), targets (N, n) -> (N)."""
        return -self.losses(features, targets)

    def _errors(self, features: Tensor, targets: Tensor) -> Tensor:
        predictions = self.logits(features)
        return predictions - targets.to(predictions.dtype)

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """Of any one prediction: max_j ‖V_j‖. The loss has no such constant."""
        rows = self.weight.detach().double()
        return max(diameter(torch.stack([row, torch.zeros_like(row)])) for row in rows)
