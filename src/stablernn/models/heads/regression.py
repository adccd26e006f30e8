"""Real numbers, scored by their squared error."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from stablernn.models.heads.vector import VectorHead


class Regression(VectorHead):
    """Prediction V h + c of n numbers; the loss is the squared error.

    Up to a constant it is the negative log-likelihood in nats of independent normal laws with variance 1/2, so that it
    stands where other heads have nats.
    """

    bounds_loss: ClassVar[bool] = False

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        return (logits - targets).square()

    def distribution(self, features: Tensor) -> Tensor:
        """The predictions, (..., D) -> (..., n): what stands in the place of log-probabilities."""
        return self.logits(features)

    def draw(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Of those normal laws: (..., D) -> (..., n)."""
        mean = self.logits(features)
        return mean + torch.empty_like(mean).normal_(std=0.5**0.5, generator=generator)

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """Of any one prediction: max_j ‖V_j‖. The loss has no such constant."""
        rows = self.weight.detach().double()
        return max(diameter(torch.stack([row, torch.zeros_like(row)])) for row in rows)
