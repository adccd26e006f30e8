"""Independent switches: each output is on with a probability of its own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stablernn.models.heads.vector import VectorHead


class Bernoulli(VectorHead):
    """Probability σ(V_j h + c_j) that output j is on, j = 1 .. n; the loss is in nats."""

    def each(self, logits: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    def distribution(self, features: Tensor) -> Tensor:
        """Log-probability in nats that each output is on: (..., D) -> (..., n)."""
        return -nn.functional.softplus(-self.logits(features))  # exported, logsigmoid is log σ, which underflows

    def draw(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Every output on, 1, or off, 0: (..., D) -> (..., n)."""
        on = self.logits(features).sigmoid()
        return (torch.rand(on.shape, generator=generator, device=on.device) < on).to(on.dtype)

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """log σ is 1-Lipschitz, so a frame's log-probability moves by at most Σ_j |V_j δh| <= Σ_j ‖V_j‖ ‖δh‖."""
        rows = self.weight.detach().double()
        return sum(diameter(torch.stack([row, torch.zeros_like(row)])) for row in rows)
