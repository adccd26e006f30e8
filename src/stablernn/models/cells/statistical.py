"""The statistical recurrent unit."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.utils.errors import ConfigurationError


class StatisticalState(NamedTuple):
    """h: (..., D). mu: the averages of S statistics at n time scales, one scale after the other, (..., n S)."""

    h: Tensor
    mu: Tensor


class StatisticalCell(Cell):
    """The statistical recurrent unit (Oliva, Póczos & Schneider 2017, arXiv 1703.00381)::

        r = relu(W_r μ + b_r),    φ = relu(W_φ r + U x + b)
        μ'^(α) = α μ^(α) + (1 - α) φ    for each α
        h' = relu(W_o μ' + b_o)

    No gate: the past is what moving averages at several scales have of it, and h is not fed back. Every matrix is
    uniform as Glorot and Bengio have it, W_φ and U as one, and the biases are 0, as in the authors' code.

    Args:
        input_size, hidden_size: E, D.
        alphas: α of each scale, in [0, 1).
        statistics: S; None: D, as in the paper, which has 200.
        summary: size of r; None: three tenths of D, as in the paper, which has 60.

    Raises:
        ConfigurationError: a scale outside [0, 1), none, or a size below 1.
    """

    GATES = ("phi",)
    state_type = StatisticalState

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        alphas: Sequence[float] = (0.0, 0.25, 0.5, 0.9, 0.99),
        statistics: int | None = None,
        summary: int | None = None,
    ) -> None:
        names = {f"{alpha:g}" for alpha in alphas}  # of the blocks: two of one name would be one to a constraint
        if not alphas or not all(0 <= alpha < 1 for alpha in alphas) or len(names) < len(alphas):
            raise ConfigurationError(
                f"model.cell.alphas={list(alphas)} must be numbers in [0, 1), at least one, and different ones"
            )
        self.alphas = tuple(float(alpha) for alpha in alphas)
        self.statistics = hidden_size if statistics is None else statistics
        self.summary = max(1, 3 * hidden_size // 10) if summary is None else summary
        for option in ("statistics", "summary"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"model.cell.{option}={getattr(self, option)} must be a whole number >= 1")
        super().__init__(input_size, hidden_size)

    weight_mr: nn.Parameter  # W_r
    bias_r: nn.Parameter
    weight_rp: nn.Parameter  # W_φ
    weight_mh: nn.Parameter  # W_o
    bias_h: nn.Parameter

    def shapes(self) -> dict[str, tuple[int, ...]]:
        d, s, r, n = self.hidden_size, self.statistics, self.summary, len(self.alphas)
        return {
            "weight_ih": (s, self.input_size),
            "bias_ih": (s,),
            "weight_rp": (s, r),
            "weight_mr": (r, n * s),
            "bias_r": (r,),
            "weight_mh": (d, n * s),
            "bias_h": (d,),
        }

    @torch.no_grad()
    def initialise(self) -> None:
        for bias in (self.bias_ih, self.bias_r, self.bias_h):
            nn.init.zeros_(bias)
        for weight in (self.weight_mr, self.weight_mh):
            nn.init.xavier_uniform_(weight)
        both = nn.init.xavier_uniform_(torch.empty(self.statistics, self.input_size + self.summary))
        self.weight_ih.copy_(both[:, : self.input_size])
        self.weight_rp.copy_(both[:, self.input_size :])

    def zeros(self, *axes: int) -> StatisticalState:
        new = self.weight_ih.new_zeros
        return StatisticalState(new(*axes, self.hidden_size), new(*axes, len(self.alphas) * self.statistics))

    def input_biases(self) -> tuple[Tensor, Tensor]:
        return self.bias_ih, torch.zeros_like(self.bias_ih)

    def recurrent_blocks(self) -> Mapping[str, Tensor]:
        """W_φ (S, R) and, for each scale, its columns of W_r (R, S)."""
        scales = self.weight_mr.split(self.statistics, dim=1)
        return {"W_φ": self.weight_rp} | {
            f"W_r {alpha:g}": part for alpha, part in zip(self.alphas, scales, strict=True)
        }

    def step(self, projected: Tensor, state: StatisticalState) -> StatisticalState:
        r = torch.relu(nn.functional.linear(state.mu, self.weight_mr, self.bias_r))
        phi = torch.relu(projected + r @ self.weight_rp.T)
        averages = zip(state.mu.split(self.statistics, dim=-1), self.alphas, strict=True)
        mu = torch.cat([torch.lerp(phi, average, alpha) for average, alpha in averages], dim=-1)
        return StatisticalState(torch.relu(nn.functional.linear(mu, self.weight_mh, self.bias_h)), mu)
