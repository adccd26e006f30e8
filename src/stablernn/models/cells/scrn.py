"""The structurally constrained network."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import RNNState
from stablernn.utils.errors import ConfigurationError

_STD = 0.05


class SCRNCell(Cell):
    """The structurally constrained recurrent network (Mikolov et al. 2014, arXiv 1412.7753)::

        s' = α s + (1 - α) B x,    q' = σ(P s' + A x + R q)

    C context units s, which change slowly, beside D - C units q of a plain network; both together are the output h, of
    which the head takes U q + V s. There are no biases. (The authors' later code has s for s' in q'.) All weights are
    normal with deviation 0.05, as in that code.

    Args:
        input_size, hidden_size: E, D.
        context: C, from 1 to D - 1; None: a fifth of D.
        alpha: α, in [0, 1); 0.95 in the paper.

    Raises:
        ConfigurationError: context or alpha lies elsewhere.
    """

    GATES = ("",)
    state_type = RNNState

    def __init__(self, input_size: int, hidden_size: int, context: int | None = None, alpha: float = 0.95) -> None:
        if hidden_size < 2:
            raise ConfigurationError(f"model.hidden_size={hidden_size} must be 2 or more: some units are context units")
        context = max(1, hidden_size // 5) if context is None else context
        if not 1 <= context < hidden_size:
            raise ConfigurationError(
                f"model.cell.context={context} must be a whole number from 1 to model.hidden_size - 1={hidden_size - 1}"
            )
        if not 0 <= alpha < 1:
            raise ConfigurationError(f"model.cell.alpha={alpha} must lie in [0, 1)")
        self.context, self.alpha = context, alpha
        super().__init__(input_size, hidden_size)

    weight_sq: nn.Parameter  # P

    def shapes(self) -> dict[str, tuple[int, ...]]:
        plain = self.hidden_size - self.context
        return {
            "weight_ih": (self.hidden_size, self.input_size),
            "weight_hh": (plain, plain),
            "weight_sq": (plain, self.context),
        }

    def initialise(self) -> None:
        for weight in self.parameters():
            nn.init.normal_(weight, std=_STD)

    def input_biases(self) -> tuple[Tensor, Tensor]:
        nothing = self.weight_ih.new_zeros(self.hidden_size)
        return nothing, nothing

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        return {"R": self.weight_hh}

    def input_blocks(self) -> Mapping[str, Tensor]:
        a, b = self.split(self.weight_ih.T)
        return {"A": a.T, "B": b.T}

    def split(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """What belongs to q and to s, of (..., D)."""
        plain, context = whole.split([self.hidden_size - self.context, self.context], dim=-1)
        return plain, context

    def step(self, projected: Tensor, state: RNNState) -> RNNState:
        (a, b), (q, s) = self.split(projected), self.split(state.h)
        s = torch.lerp(b, s, self.alpha)
        return RNNState(torch.cat([torch.sigmoid(a + s @ self.weight_sq.T + q @ self.weight_hh.T), s], dim=-1))
