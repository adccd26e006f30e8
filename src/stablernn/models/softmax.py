"""The full softmax over the vocabulary, in row chunks: the logits are never all in memory.

Axes: N positions, D features, V types.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_ROWS_A_CHUNK = 256
_TYPES_A_CHUNK = 1024


class _SummedCrossEntropy(torch.autograd.Function):
    """Σ_n -log softmax(V h_n + c)[target_n], with its gradients found in the same sweep over the logits.

    A chunk's logits are overwritten by their own gradient, softmax(z) - onehot(target), which is used and
    dropped before the next chunk: the memory is that of one chunk, forward and backward.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=features.device)
        grad_features = torch.empty_like(features)
        grad_weight = torch.zeros_like(weight)
        grad_bias = torch.zeros_like(bias)
        for start in range(0, len(features), _ROWS_A_CHUNK):
            rows = slice(start, start + _ROWS_A_CHUNK)
            h, target = features[rows], targets[rows, None]
            logits = torch.addmm(bias, h, weight.T)
            maximum = logits.amax(1, keepdim=True)
            picked = logits.gather(1, target) - maximum
            gradient = logits.sub_(maximum).exp_()
            mass = gradient.sum(1, keepdim=True)
            total += (mass.log() - picked).sum(dtype=torch.float64)
            gradient.div_(mass).scatter_add_(1, target, gradient.new_full((len(h), 1), -1.0))
            torch.mm(gradient, weight, out=grad_features[rows])
            grad_weight.addmm_(gradient.T, h)
            grad_bias += gradient.sum(0)
        ctx.save_for_backward(grad_features, grad_weight, grad_bias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        scale = grads[0].float()
        grad_features, grad_weight, grad_bias = ctx.saved_tensors
        return grad_features * scale, grad_weight.mul_(scale), grad_bias * scale, None


class FullSoftmax(nn.Module):
    """Decoder and objective of a language model: logits z = V h + c, loss -log softmax(z)[target].

    Args:
        types: vocabulary size V.
        hidden_size: feature size D.
        tied_to: use the (V, D) matrix of this embedding as the decoder's weight.
    """

    def __init__(self, types: int, hidden_size: int, tied_to: nn.Embedding | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(types, hidden_size)) if tied_to is None else tied_to.weight
        self.bias = nn.Parameter(torch.zeros(types))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Summed loss in nats, a float64 scalar: features (..., D), targets (...)."""
        flat = features.reshape(-1, features.shape[-1])
        if torch.is_grad_enabled():
            return _SummedCrossEntropy.apply(flat, self.weight, self.bias, targets.reshape(-1))  # type: ignore[return-value]
        return -self.log_probabilities(flat, targets.reshape(-1)).sum(dtype=torch.float64)

    @torch.no_grad()
    def log_probabilities(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log-probability in nats of each target: features (N, D), targets (N) -> (N).

        Sweeps over the vocabulary with a running maximum and sum, so a chunk of logits stays in the cache.
        """
        picked = torch.einsum("nd,nd->n", features, self.weight[targets]) + self.bias[targets]
        maximum = features.new_full((len(features), 1), -torch.inf)
        total = torch.zeros_like(maximum)
        for start in range(0, len(self.bias), _TYPES_A_CHUNK):
            types = slice(start, start + _TYPES_A_CHUNK)
            logits = torch.addmm(self.bias[types], features, self.weight[types].T)
            larger = torch.maximum(maximum, logits.amax(1, keepdim=True))
            total = total * (maximum - larger).exp_() + logits.sub_(larger).exp_().sum(1, keepdim=True)
            maximum = larger
        return picked - (maximum + total.log_())[:, 0]
