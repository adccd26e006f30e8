"""No decoder: the features themselves are what the model puts out."""

from collections.abc import Callable

import torch
from torch import Tensor

from stablernn.models.heads.base import Head
from stablernn.utils.errors import NotApplicableError

NO_SCORE = "not applicable: without a decoder nothing is predicted, so there is no loss"


class Features(Head):
    """Hands on h as it is. Nothing is predicted, so there is no loss; bounds are of the change of any entry of h.

    Args:
        hidden_size: D.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    @property
    def outputs(self) -> int:
        return self.hidden_size

    def initialise(self, bound: float) -> None:
        """There are no weights."""

    def logits(self, features: Tensor) -> Tensor:
        return features

    def distribution(self, features: Tensor) -> Tensor:
        """The features, (..., D): what stands in the place of log-probabilities."""
        return features

    def draw(self, features: Tensor, generator: torch.Generator) -> Tensor:
        raise NotApplicableError(NO_SCORE)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        raise NotApplicableError(NO_SCORE)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        raise NotApplicableError(NO_SCORE)

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        """0 everywhere, (N): a truncation curve then has the gaps of the states alone."""
        return features.new_zeros(len(features))

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """Of any one entry of h."""
        rows = torch.eye(self.hidden_size, dtype=torch.float64)
        return max(diameter(torch.stack([row, torch.zeros_like(row)])) for row in rows)
