"""The full softmax over the vocabulary: a bounded number of logits in memory, gradients in the forward sweep.

Axes: N positions, D features, V types.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stablernn.models.heads.base import Head
from stablernn.models.precision import Precision, product

_LOGITS_A_CHUNK = 2**25  # 128 MiB of float32
_SCORED_TYPES_A_CHUNK = 512  # on a CPU: logits that stay in its cache
_LOGITS_IN_CACHE = (
    2**22
)  # of an update on a CPU: half of a last-level cache of 32 MiB; less costs more waits of threads
_ALIGNED = 16  # rows that end with a whole vector
_LOG2_E = 1 / math.log(2)
# Tensor cores read rows that begin at multiples of 16 bytes; whole tiles of 64 columns waste nothing.
_TILE = 64
_BIAS_COLUMNS = 8
_LARGE_BIAS = 2.0**14
_SMALLEST = torch.finfo(torch.float32).tiny


class _SummedCrossEntropy(torch.autograd.Function):
    """Σ_n -log softmax(V h_n + c)[target_n], with its gradients found in the same sweep over the logits.

    With e_n = exp(z_n) and s_n = Σ_v e_nv the gradient by the logits is e_n / s_n - onehot(target_n). Neither the
    division nor the one-hot rows take place on the N x V matrix. Small matrices are scaled instead, and the words
    that came are added exactly, however the products are rounded:

        ∂/∂h_n = (Σ_v e_nv V_v) / s_n - V_target,    ∂/∂V = Σ_n e_n (h_n / s_n)^T - Σ_n onehot(target_n) h_n^T.

    So between the three products that any method needs lie one exponential and one sum.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, precision: Precision) -> Tensor:
        on_tensor_cores = features.is_cuda and precision is not Precision.FLOAT32
        summed = _summed_on_tensor_cores if on_tensor_cores else _summed_in_cache
        total, *gradients = summed(features, weight, bias, targets, precision)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        gradients = ctx.saved_tensors
        scale = grads[0].to(gradients[0].dtype)
        if not is_unit(grads[0]) and (scale.is_cuda or scale != 1):  # asking a GPU for a number would make it wait
            gradients = [gradient * scale for gradient in gradients]
        return *gradients, None, None


@cache
def unit(device: torch.device) -> Tensor:
    """1 as a float64 scalar: ``loss.backward(unit(device))`` spares a pass over the decoder's gradient."""
    return torch.ones((), dtype=torch.float64, device=device)


def is_unit(scale: Tensor) -> bool:
    """Whether this is the memory of ``unit``, without looking at the number in it."""
    return scale.dtype is torch.float64 and scale.data_ptr() == unit(scale.device).data_ptr()


def _summed_on_tensor_cores(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, precision: Precision
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The summed loss and its gradients by features, weight and bias, with two passes over the logits.

    The bias goes into the product as two further columns, as one bfloat16 number would round it to 8 bits; the columns
    and rows beyond D and V are there for alignment, and a probability there is 0. A loss above 87 nats counts as 87.
    """
    types, size = weight.shape
    padded = -(-types // _TILE) * _TILE
    rounded = weight.new_empty(padded, size + _BIAS_COLUMNS, dtype=torch.bfloat16)
    rounded[:types, :size] = weight
    rounded[types:].zero_()
    rounded[:, size:].zero_()
    rounded[:types, size] = bias
    rounded[:types, size + 1] = bias - rounded[:types, size].float()
    rounded[types:, size].fill_(-_LARGE_BIAS)
    total = torch.zeros((), dtype=torch.float64, device=features.device)
    grad_features = torch.empty_like(features)
    grad_weight: Tensor | None = None
    grad_bias: Tensor | None = None
    chunks = -(-len(features) * types // _LOGITS_A_CHUNK)
    for h, target, grad_h in zip(
        features.chunk(chunks), targets.chunk(chunks), grad_features.chunk(chunks), strict=True
    ):
        narrow = h.bfloat16()
        if precision is Precision.BF16:
            ones = narrow.new_ones(len(h), _BIAS_COLUMNS)
            logits = product(torch.cat([narrow, ones], 1), rounded.T).to(weight.dtype)
        else:
            logits = h.new_empty(len(h), padded)
            torch.addmm(bias, h, weight.T, out=logits[:, :types])
            logits[:, types:].fill_(-_LARGE_BIAS)
        probabilities = logits.softmax(1)
        total -= probabilities.gather(1, target[:, None]).clamp_min_(_SMALLEST).log_().sum(dtype=torch.float64)
        shares = probabilities.bfloat16()
        torch.sub(product(shares, rounded[:, :size]).to(weight.dtype), weight[target], out=grad_h)
        by_weight = product(shares[:, :types].T, narrow).to(weight.dtype)
        by_bias = shares[:, :types].sum(0, dtype=torch.float32)
        grad_weight = by_weight if grad_weight is None else grad_weight.add_(by_weight)
        grad_bias = by_bias if grad_bias is None else grad_bias.add_(by_bias)
    assert grad_weight is not None
    assert grad_bias is not None
    grad_weight.index_add_(0, targets, features, alpha=-1)
    grad_bias.index_add_(0, targets, torch.ones_like(features[:, 0]), alpha=-1)
    return total, grad_features, grad_weight, grad_bias


# Between these the sum of exponentials is as exact without a shift as with one: no exponential has overflowed, and
# none that matters has underflowed.
_SAFE_MASS = (1e-25, 1e30)


def _is_safe(mass: Tensor) -> bool:
    return bool(((mass > _SAFE_MASS[0]) & (mass < _SAFE_MASS[1])).all())


def _summed_in_cache(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, precision: Precision
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The summed loss and its gradients by features, weight and bias; logits live as long as they are in the cache.

    Σ_n e_nv / s_n, the gradient by the bias, is one further column of the product for the gradient by V.
    """
    size = features.shape[1]
    total = torch.zeros((), dtype=torch.float64, device=features.device)
    grad_features = torch.empty_like(features)
    by_types: Tensor | None = None
    rounded = weight if precision is Precision.FLOAT32 else weight.bfloat16()
    chunks = -(-len(features) * len(weight) // _LOGITS_A_CHUNK)
    for h, target, grad_h in zip(
        features.chunk(chunks), targets.chunk(chunks), grad_features.chunk(chunks), strict=True
    ):
        exponentials, mass, shift, mean = _exponentials(h, weight, bias, rounded, precision)
        picked_weight = weight[target]
        picked = torch.linalg.vecdot(h, picked_weight) + bias[target]
        total += (mass.log() + shift - picked).clamp_(min=0).sum(dtype=torch.float64)
        share = 1 / mass
        torch.mul(mean, share[:, None], out=grad_h).sub_(picked_weight)
        scaled = h.new_zeros(exponentials.shape[1], _aligned(size + 1))
        torch.mul(h, share[:, None], out=scaled[: len(h), :size])
        scaled[: len(h), size] = share
        result = product(exponentials, scaled.to(exponentials.dtype)).to(weight.dtype)
        by_types = result if by_types is None else by_types.add_(result)
    assert by_types is not None
    grad_weight, grad_bias = by_types[:, :size].contiguous(), by_types[:, size].contiguous()
    grad_weight.index_add_(0, targets, features, alpha=-1)
    grad_bias.index_add_(0, targets, torch.ones_like(features[:, 0]), alpha=-1)
    return total, grad_features, grad_weight, grad_bias


def _aligned(count: int) -> int:
    return -(-count // _ALIGNED) * _ALIGNED


def _exponentials(
    h: Tensor, weight: Tensor, bias: Tensor, rounded: Tensor, precision: Precision
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """e = exp(z - shift) as (V, N) and as exact as the products, with N rounded up; its sums Σ_v e_nv (N); the shift
    (N); and Σ_v e_nv V_v (N, D).

    The shift is 0, or the largest logit where exp(z) leaves the range of float32 (or where finding that out would let a
    GPU wait). Powers of 2 take a processor a third of the time that powers of e do: features and bias are scaled.
    """
    positions, size = h.shape
    scaled = h.new_zeros(_aligned(positions), size)
    torch.mul(h, _LOG2_E, out=scaled[:positions])
    factors, table = (scaled.bfloat16(), rounded) if precision is Precision.BF16 else (scaled, weight)
    offsets = (bias * _LOG2_E)[:, None]
    exponentials = rounded.new_empty(len(weight), len(scaled))
    types = len(weight) if h.is_cuda else max(1, _LOGITS_IN_CACHE // len(scaled))
    memory = h.new_empty(min(types, len(weight)), len(scaled))

    def sweep() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        parts = (matrix.split(types) for matrix in (table, offsets, rounded, exponentials))
        for some, offset, narrow, kept in zip(*parts, strict=True):
            logits = kept if precision is Precision.FLOAT32 else memory[: len(some)]
            if precision is Precision.BF16:
                logits.copy_(product(some, factors.T))
            else:
                torch.mm(some, factors.T, out=logits)
            yield logits.add_(offset), narrow, kept

    def moments(shift: Tensor | None) -> tuple[Tensor, Tensor]:
        mass, mean = h.new_zeros(len(scaled)), torch.zeros_like(scaled)
        for logits, narrow, kept in sweep():
            if shift is not None:
                logits.sub_(shift)
            mass += logits.exp2_().sum(0)
            if precision is Precision.FLOAT32:
                mean.addmm_(kept.T, narrow)
            else:
                mean += product(kept.copy_(logits).T, narrow)
        return mass[:positions], mean[:positions]

    if not h.is_cuda:
        mass, mean = moments(None)
        if _is_safe(mass):
            return exponentials, mass, torch.zeros_like(mass), mean
    shift = torch.stack([logits.amax(0) for logits, *_ in sweep()]).amax(0)
    mass, mean = moments(shift)
    return exponentials, mass, shift[:positions] / _LOG2_E, mean


def _types_a_chunk(features: Tensor) -> int:
    """Types whose logits are held at once for features (N, D): on a GPU many, as each launch has its price."""
    if not features.is_cuda:
        return _SCORED_TYPES_A_CHUNK
    return max(_SCORED_TYPES_A_CHUNK, _LOGITS_A_CHUNK // max(1, len(features)))


class FullSoftmax(Head):
    """Decoder and objective of a language model: logits z = V h + c, loss -log softmax(z)[target].

    Args:
        types: vocabulary size V.
        hidden_size: feature size D.
        tied_to: use the (V, D) matrix of this embedding as the decoder's weight.

    ``precision`` is that of the products in training; scores are always float32.
    """

    def __init__(self, types: int, hidden_size: int, tied_to: nn.Embedding | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(types, hidden_size)) if tied_to is None else tied_to.weight
        self.bias = nn.Parameter(torch.zeros(types))
        self.precision = Precision.FLOAT32

    def initialise(self, bound: float) -> None:
        nn.init.uniform_(self.weight, -bound, bound)

    def sensitivity(self, diameter: Callable[[Tensor], float]) -> float:
        return diameter(self.weight.detach().double())

    def logits(self, features: Tensor) -> Tensor:
        """z = V h + c: (..., D) -> (..., V), all of them in memory."""
        return nn.functional.linear(features, self.weight, self.bias)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        flat = features.reshape(-1, features.shape[-1])
        if torch.is_grad_enabled():
            return cast(
                Tensor,
                _SummedCrossEntropy.apply(flat, self.weight, self.bias, targets.reshape(-1), self.precision),
            )
        return -self.log_probabilities(flat, targets.reshape(-1)).sum(dtype=torch.float64)

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        return self._less(features, targets, self._log_mass(features))

    @torch.no_grad()
    def log_probabilities_and_moments(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, and of the decoder's rows under each prediction p_n their mean and their spread.

        Returns:
            Log-probabilities (N); the means μ_n = Σ_v p_n(v) V_v (N, D), the gradients of the log-partition function by
            the features; and Σ_v p_n(v) ‖V_v - μ_n‖² (N), the trace of its Hessian, rounded up.
        """
        log_mass = self._log_mass(features)
        rows = torch.cat([self.weight, self.weight.square().sum(1, keepdim=True)], dim=1)
        moments = features.new_zeros(len(features), rows.shape[1])
        for logits, some in zip(self._sweep(features), rows.split(_types_a_chunk(features)), strict=True):
            moments.addmm_(logits.sub_(log_mass[:, None]).exp_(), some)
        means, squares = moments[:, :-1], moments[:, -1]
        rounding = 100 * torch.finfo(squares.dtype).eps * squares
        return self._less(features, targets, log_mass), means, squares - means.square().sum(1) + rounding

    def _less(self, features: Tensor, targets: Tensor, log_mass: Tensor) -> Tensor:
        """Log-probabilities; of a word that is nearly sure the difference of two rounded terms can be above 0."""
        return (self._picked(features, targets) - log_mass).clamp_(max=0)

    def _picked(self, features: Tensor, targets: Tensor) -> Tensor:
        return torch.linalg.vecdot(features, self.weight[targets]) + self.bias[targets]

    def _log_mass(self, features: Tensor) -> Tensor:
        """log Σ_v exp(z_nv), (N)."""
        if features.is_cuda:  # looking whether a shift is needed would let the device wait, and no graph can hold it
            return torch.stack([logits.logsumexp(1) for logits in self._sweep(features)]).logsumexp(0)
        mass = self._mass(features)
        if _is_safe(mass):
            return mass.log()
        maximum = torch.stack([logits.amax(1) for logits in self._sweep(features)]).amax(0)
        return maximum + self._mass(features, maximum).log()

    def _mass(self, features: Tensor, shift: Tensor | None = None) -> Tensor:
        """Σ_v exp(z_nv - shift_n), (N)."""
        mass = features.new_zeros(len(features))
        for logits in self._sweep(features):
            if shift is not None:
                logits.sub_(shift[:, None])
            mass += logits.exp_().sum(1)
        return mass

    def _sweep(self, features: Tensor) -> Iterator[Tensor]:
        """The logits (N, ...) of a chunk of types at a time, in one memory."""
        types = _types_a_chunk(features)
        memory = features.new_empty(len(features) * min(types, len(self.weight)))
        for weight, bias in zip(self.weight.split(types), self.bias.split(types), strict=True):
            logits = memory[: len(features) * len(weight)].view(len(features), len(weight))
            yield torch.addmm(bias, features, weight.T, out=logits)
