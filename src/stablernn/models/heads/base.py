"""The contract of what stands above the features: probabilities of words, and the loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from stablernn.models.precision import Precision


class Head(nn.Module, ABC):
    """Turns features into log-probabilities of V types.

    Attributes:
        precision: of the products in training; scores are always float32.
        needs_frequencies: whether ``arrange`` is to be called before training.
        fixed_shapes: whether the shapes inside depend on those of the arguments alone, as a CUDA graph needs it.
        bounds_loss: whether what ``sensitivity`` bounds is the loss of an item too.
    """

    precision: Precision
    needs_frequencies: bool = False
    fixed_shapes: bool = True
    bounds_loss: ClassVar[bool] = True

    @abstractmethod
    def initialise(self, bound: float) -> None:
        """Weights uniform in ±bound."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """(..., D) -> (..., V), all of them in memory."""

    def distribution(self, features: Tensor) -> Tensor:
        """Log-probability in nats of every output: (..., D) -> (..., V); of a head without one, its outputs."""
        return self.logits(features).log_softmax(-1)

    def draw(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """One item for each of (..., D), drawn from its distribution: here ids (...).

        argmax_j log p_j + G_j with standard Gumbel noise G is distributed as p.

        Args:
            generator: of the device of the features.
        """
        scores = self.distribution(features)
        return (scores - torch.empty_like(scores).exponential_(generator=generator).log()).argmax(-1)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Loss in nats of each item, in the precision of the features and with gradient: (..., D) -> (...)."""
        return -self.distribution(features).gather(-1, targets[..., None])[..., 0]

    @abstractmethod
    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Summed loss in nats, a float64 scalar: features (..., D), targets (...)."""

    @abstractmethod
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log-probability in nats of each target, without gradient: features (N, D), targets (N) -> (N)."""

    @abstractmethod
    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        """D_V: no log-probability moves by more than this times the distance that the features move.

        Args:
            diameter: the largest distance of two rows of a float64 matrix (N, D), in the norm that is dual to that of
                the features.
        """

    @property
    def outputs(self) -> int:
        """V; here the rows of ``weight``."""
        return len(self.weight)  # type: ignore[arg-type]

    def arrange(self, frequencies: Tensor) -> None:
        """Take notice of how often each type comes, (V,); asked of a head that ``needs_frequencies`` alone."""
        raise NotImplementedError
