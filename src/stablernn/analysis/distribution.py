"""Mean, percentiles and maximum of a stream of numbers that is too long to keep."""

import torch
from torch import Tensor

_LOWEST, _HIGHEST, _A_DECADE = -16, 8, 200  # powers of ten; bins 1.2 % wide


class Distribution:
    """Of numbers >= 0, from a histogram on a logarithmic axis: percentiles are right to 1.2 %, rounded up."""

    def __init__(self) -> None:
        self.count = 0
        self.largest = 0.0
        self._sum = 0.0
        self._bins = torch.zeros((_HIGHEST - _LOWEST) * _A_DECADE, dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """Count the values (N,)."""
        if not len(values):
            return
        values = values.double()
        self.count += len(values)
        self.largest = max(self.largest, float(values.max()))
        self._sum += float(values.sum())
        bins = ((values.clamp_min(1e-300).log10() - _LOWEST) * _A_DECADE).clamp_(0, len(self._bins) - 1).long()
        self._bins += torch.bincount(bins, minlength=len(self._bins)).cpu()

    @property
    def mean(self) -> float:
        return self._sum / max(self.count, 1)

    def percentile(self, percent: float) -> float:
        """The least bin edge that so many per cent of the values do not exceed; never above the largest value."""
        reached = self._bins.cumsum(0) >= percent / 100 * self.count
        edge = 10 ** (_LOWEST + (int(reached.int().argmax()) + 1) / _A_DECADE)
        return min(edge, self.largest)
