"""Dropout that draws from a generator of its own, so that several runs in one process do not share their luck."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Zero each entry with probability p in training and multiply the others by 1 / (1 - p) (Srivastava et al. 2014).

    As ``torch.nn.Dropout``, on a CPU bit for bit; only the masks come from ``generator``, PyTorch's own one while it
    is None.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def draw_from(module: nn.Module, generator: torch.Generator) -> None:
    """Let every dropout in ``module`` draw its masks from ``generator``, one of the module's device."""
    for part in module.modules():
        if isinstance(part, Dropout):
            part.generator = generator


def own_generator(device: torch.device) -> torch.Generator:
    """A generator that starts where PyTorch's own one for a device is, and leaves that one alone."""
    generator = torch.Generator(device)
    generator.set_state(torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state())
    return generator
