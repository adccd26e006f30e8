"""k steps of φ from zero at every position, all positions in parallel, with the gradient written out.

The k words that an output sees end at the output, so the chains of all outputs are laid side by side by their ends: row
o of layer j takes input s + o - (k - j), where s inputs lie before the first output. A layer is one product of all rows
with W. Where the text begins, chains are shorter than k: they start, from zero, at a later layer.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Parts = tuple[Tensor, ...]  # of a state, h first: (rows, B, D) each


class Activation(Protocol):
    """The elementwise part of a cell's step, and its derivative; ``parts`` tensors make up a state."""

    parts: int

    def forward(self, gates: Tensor, before: Parts) -> Parts:
        """The state after, from W h + U x + b (rows, B, G), which is overwritten, and the state before."""
        ...

    def backward(
        self, gates: Tensor, before: Parts, after: Parts, grads: Parts
    ) -> tuple[Tensor, tuple[Tensor | None, *Parts]]:
        """The gradient by W h + U x + b, and by the parts of the state before.

        That by h is without its way through W; None: there is no other.

        Args:
            gates: as ``forward`` left it.
            before, after: the states around the step.
            grads: the gradient by the parts of ``after``.
        """
        ...


class Tanh:
    """h' = tanh(gates)."""

    parts = 1

    def forward(self, gates: Tensor, before: Parts) -> Parts:
        return (gates.tanh_(),)

    def backward(self, gates: Tensor, before: Parts, after: Parts, grads: Parts) -> tuple[Tensor, tuple[None]]:
        return torch.ops.aten.tanh_backward(grads[0], after[0]), (None,)


class LongShortTerm:
    """c' = f ⊙ c + i ⊙ z, h' = o ⊙ tanh(c'), gates in the order i, f, z, o."""

    parts = 2

    def forward(self, gates: Tensor, before: Parts) -> Parts:
        i, f, z, o = gates.chunk(4, dim=-1)
        size = i.shape[-1]
        gates[..., : 2 * size].sigmoid_()
        z.tanh_()
        o.sigmoid_()
        c = torch.addcmul(i * z, f, before[1])
        return c.tanh().mul_(o), c

    def backward(self, gates: Tensor, before: Parts, after: Parts, grads: Parts) -> tuple[Tensor, tuple[None, Tensor]]:
        i, f, z, o = gates.chunk(4, dim=-1)
        grad_h, grad_c = grads
        tanh_c = after[1].tanh()
        grad_c = torch.ops.aten.tanh_backward(grad_h * o, tanh_c).add_(grad_c)
        result = torch.empty_like(gates)
        grad_i, grad_f, grad_z, grad_o = result.chunk(4, dim=-1)
        sigmoid_backward, tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        sigmoid_backward.grad_input(grad_c * z, i, grad_input=grad_i)
        sigmoid_backward.grad_input(grad_c * before[1], f, grad_input=grad_f)
        tanh_backward.grad_input(grad_c * i, z, grad_input=grad_z)
        sigmoid_backward.grad_input(grad_h * tanh_c, o, grad_input=grad_o)
        return result, (None, grad_c.mul_(f))


def layered(
    projected: Tensor, weight: Tensor, k: int, outputs: int, activation: Activation, recompute: bool = False
) -> Tensor:
    """h_t^(k) at the last positions.

    Args:
        projected: input products U x + b at S positions, (S, B, G).
        weight: W, (G, D), or fewer rows: then the gates behind them do not see the state.
        k: inputs that an output sees, or all there are before it.
        outputs: T <= S, the last positions, whose states are asked for.
        activation: the rest of the cell.
        recompute: keep some √k layers for the gradient instead of all k, and compute each layer a second time.

    Returns:
        (T, B, D). Differentiable once, by ``projected`` and ``weight``.
    """
    return _Layered.apply(projected, weight, k, outputs, activation, recompute)  # type: ignore[return-value]


class _Layers:
    """The layers 1 .. k; fewer where no output has k inputs."""

    def __init__(self, projected: Tensor, weight: Tensor, k: int, outputs: int, activation: Activation) -> None:
        self.projected = projected
        self.weight = weight
        self.transposed = weight.T.contiguous()
        self.k = min(k, len(projected))
        self.outputs = outputs
        self.activation = activation

    def first(self, layer: int) -> int:
        """The first output whose chain has started."""
        carried = len(self.projected) - self.outputs
        return max(0, self.k - layer - carried) if layer else self.outputs

    def inputs(self, layer: int) -> slice:
        """The inputs that the started chains take."""
        end = len(self.projected) - (self.k - layer)
        return slice(end - (self.outputs - self.first(layer)), end)

    def before(self, layer: int, after: Parts | None) -> Parts:
        """The state before a layer, given that after the one above: zero for chains that start here."""
        missing = self.first(layer - 1) - self.first(layer)
        if not missing and after is not None:
            return after
        shape = (missing, self.projected.shape[1], self.weight.shape[1])
        zeros = self.projected.new_zeros(shape)
        return (zeros,) * self.activation.parts if after is None else tuple(torch.cat([zeros, p]) for p in after)

    def gates(self, layer: int, before: Parts) -> Tensor:
        """W h + U x + b."""
        projected = self.projected[self.inputs(layer)]
        flat, h, seeing = projected.flatten(0, 1), before[0].flatten(0, 1), len(self.weight)
        if seeing == projected.shape[-1]:
            return torch.addmm(flat, h, self.transposed).view_as(projected)
        flat = flat.clone()
        flat[:, :seeing].addmm_(h, self.transposed)
        return flat.view_as(projected)

    def run(self, layers: Sequence[int], after: Parts | None, keep: bool) -> tuple[Parts, list[tuple]]:
        """Some layers: the state after them, and (gates, before, after) of each, if they are to be kept."""
        kept = []
        for layer in layers:
            before = self.before(layer, after)
            gates = self.gates(layer, before)
            after = self.activation.forward(gates, before)
            if keep:
                kept.append((gates, before, after))
        assert after is not None
        return after, kept


class _Layered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, projected: Tensor, weight: Tensor, k: int, outputs: int, activation, recompute: bool) -> Tensor:
        layers = _Layers(projected, weight, k, outputs, activation)
        learning = any(ctx.needs_input_grad)
        length = math.isqrt(layers.k - 1) + 1 if recompute else layers.k
        ctx.segments = []  # layers, the state before them, what was kept of them
        after: Parts | None = None
        for start in range(1, layers.k + 1, length):
            segment = range(start, min(start + length, layers.k + 1))
            before = after
            after, kept = layers.run(segment, before, keep=learning and not recompute)
            if learning:
                ctx.segments.append((segment, before, kept))
        ctx.layers = layers
        assert after is not None
        return after[0].clone() if learning else after[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        layers: _Layers = ctx.layers
        grad_projected = torch.zeros_like(layers.projected)
        grad_weight = torch.zeros_like(layers.weight)
        grad: Parts = (grads[0], *(torch.zeros_like(grads[0]) for _ in range(layers.activation.parts - 1)))
        for segment, before_segment, kept in reversed(ctx.segments):
            if not kept:
                _, kept = layers.run(segment, before_segment, keep=True)
            for layer, (gates, before, after) in zip(reversed(segment), reversed(kept), strict=True):
                grad_gates, rest = layers.activation.backward(gates, before, after, grad)
                grad_projected[layers.inputs(layer)] += grad_gates
                flat = grad_gates.flatten(0, 1)[:, : len(layers.weight)]
                grad_weight.addmm_(flat.T, before[0].flatten(0, 1))
                if layer > 1:
                    direct, *others = rest
                    through = (flat @ layers.weight).view_as(before[0])
                    grad = (through if direct is None else through.add_(direct), *others)
                    started = layers.first(layer - 1) - layers.first(layer)
                    grad = tuple(part[started:] for part in grad)
        return grad_projected, grad_weight, None, None, None, None
