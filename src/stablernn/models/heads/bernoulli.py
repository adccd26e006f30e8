"""Independent switches: each output is on with a probability of its own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stablernn.models.heads.base import Head


class Bernoulli(Head):
    """Probability σ(V_j h + c_j) that output j is on, j = 1 .. n; the loss is summed over the outputs.

    Args:
        outputs: n.
        hidden_size: D.
    """

    def __init__(self, outputs: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, hidden_size))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def initialise(self, bound: float) -> None:
        nn.init.uniform_(self.weight, -bound, bound)

    def logits(self, features: Tensor) -> Tensor:
        return nn.functional.linear(features, self.weight, self.bias)

    def distribution(self, features: Tensor) -> Tensor:
        """Log-probability in nats that each output is on: (..., D) -> (..., n)."""
        return -nn.functional.softplus(-self.logits(features))  # exported, logsigmoid is log σ, which underflows

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Summed loss in nats, a float64 scalar: features (..., D), targets (..., n)."""
        return self._each(features, targets).sum(dtype=torch.float64)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        return self._each(features, targets).sum(-1)

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log-probability in nats of each frame, without gradient: features (N, D), targets (N, n) -> (N)."""
        return -self.losses(features, targets)

    def _each(self, features: Tensor, targets: Tensor) -> Tensor:
        logits = self.logits(features)
        return nn.functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """log σ is 1-Lipschitz, so a frame's log-probability moves by at most Σ_j |V_j δh| <= Σ_j ‖V_j‖ ‖δh‖."""
        rows = self.weight.detach().double()
        return sum(diameter(torch.stack([row, torch.zeros_like(row)])) for row in rows)
