"""The mixed-history RNN."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from stablernn.models.cells.delayed import DelayedCell, checked_delays


class MISTCell(DelayedCell):
    """The mixed-history RNN (MIST: DiPietro et al. 2017, arXiv 1702.07805), with N delays d_i::

        a = softmax(W_a h_{t-1} + U_a x + b_a)
        r = σ(W_r h_{t-1} + U_r x + b_r)
        h_t = tanh(W (r ⊙ Σ_i a_i h_{t-d_i}) + U x + b)

    A NARX RNN that mixes the delayed outputs by an attention before it multiplies them, so that a further delay costs
    next to nothing. The rows of the parameters are stacked in the order r, h, a: D, D and N of them.

    Args:
        input_size, hidden_size: E, D.
        delays: d_i; powers of 2 in the paper. 1 is added where it is missing.

    Raises:
        ConfigurationError: delays that are not distinct whole numbers >= 1.
    """

    GATES = ("r", "", "a")

    def __init__(self, input_size: int, hidden_size: int, delays: Iterable[int] = (1, 2, 4, 8, 16, 32, 64)) -> None:
        self.delays = checked_delays({1, *delays})  # the gates read h_{t-1}
        super().__init__(input_size, hidden_size)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        rows = sum(self.rows())
        return {name: (rows, *shape[1:]) for name, shape in super().shapes().items()}

    def rows(self) -> list[int]:
        """How many rows of the parameters each of r, h and a has."""
        return [self.hidden_size, self.hidden_size, len(self.delays)]

    def _blocks(self, letter: str, matrix: Tensor) -> Mapping[str, Tensor]:
        blocks = matrix.split(self.rows())
        return {f"{letter}_{gate}" if gate else letter: block for gate, block in zip(self.GATES, blocks, strict=True)}

    def combine(self, projected: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        by_r, weight, by_a = self.weight_hh.split(self.rows())
        r, update, a = projected.split(self.rows(), dim=-1)
        mixing = torch.softmax(a + earlier[0] @ by_a.T, dim=-1)[..., None, :]
        mixture = (mixing * torch.stack(tuple(earlier), dim=-1)).sum(-1)
        return torch.tanh(update + (torch.sigmoid(r + earlier[0] @ by_r.T) * mixture) @ weight.T)
