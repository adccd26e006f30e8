"""What an update asks of a GPU, counted and not measured: bytes moved and floating-point operations.

The step runs on tensors without data (PyTorch's ``meta`` device) that say that they are on a GPU, so it takes the path
of a GPU, and a dispatch mode sees each operation. No GPU is needed, and every machine counts the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from stablernn.benchmarks.plain import PlainModel, plain_step
from stablernn.benchmarks.step import CLIP, LR, STEPS, TYPES, cell_of
from stablernn.models.precision import Precision
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel, build_language_model
from stablernn.stability.constraints.base import Constraint, Unconstrained, project
from stablernn.training.step import Step

BATCH = 20
_ATEN = torch.ops.aten
# Products by the place of their first operand.
_PRODUCTS = {_ATEN.mm: 0, _ATEN.mv: 0, _ATEN.dot: 0, _ATEN.bmm: 0, _ATEN.addmm: 1, _ATEN.addmm_: 1, _ATEN.addmv: 1}
# Of a table only the rows that are asked for are read.
_GATHERS = (_ATEN.embedding, _ATEN.gather, _ATEN.index, _ATEN.index_select, _ATEN.nll_loss_forward)
_SCATTERS = (_ATEN.index_add_, _ATEN.index_put_)
# Arguments that lend their shape alone; what is written without being read.
_SHAPES = (
    _ATEN.empty_like, _ATEN.zeros_like, _ATEN.ones_like, _ATEN.full_like, _ATEN.new_empty, _ATEN.new_zeros,
    _ATEN.new_ones, _ATEN.new_full,
)  # fmt: skip
_OVERWRITES = (_ATEN.copy_, _ATEN.zero_, _ATEN.fill_, _ATEN.bernoulli_, _ATEN.uniform_)
_FREE = (_ATEN.empty, _ATEN.empty_like, _ATEN.new_empty, _ATEN._unsafe_view, _ATEN.empty_strided)


@dataclass
class Count:
    """Operations, the bytes that they move, and their floating-point operations (those of products alone)."""

    operations: int = 0
    bytes: int = 0
    flop: int = 0


class Traffic(TorchDispatchMode):
    """Counts what is done inside, products and the rest apart.

    An operation reads each tensor that it is given once and writes each that it returns or changes once, as a kernel
    does whose operands do not stay in a cache. Views and memory that is only set aside are free. Of a table from which
    rows are picked those rows count, and of a table to which rows are added those twice. The recurrence of a library
    (cuDNN) is one operation and counts as a product: inputs, weights, states and gradients, and not what it keeps to
    itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        self.products, self.rest = Count(), Count()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        kind = function.overloadpacket
        if kind is _ATEN._local_scalar_dense:  # the plain loop asks for its loss, and there is no number here
            return 0.0
        out = self._run(function, args, kwargs)
        if not _is_free(function):
            count = self.products if kind in _PRODUCTS else self.rest
            count.operations += 1
            count.bytes += _moved(function, args, kwargs, out)
            if isinstance(out, Tensor) and kind in _PRODUCTS:
                first = args[_PRODUCTS[kind]]
                count.flop += 2 * out.numel() * first.shape[-1]
        return out

    @staticmethod
    def _run(function, args, kwargs):
        if function is _ATEN.mm.dtype:
            a, b, dtype = args
            return torch.empty(len(a), b.shape[1], dtype=dtype, device=a.device)
        if function.overloadpacket is _ATEN._fused_sgd_:  # which the meta device does not know
            return None
        return function(*args, **kwargs)

    def recurrence(self, moved: Sequence[Tensor], flop: int) -> None:
        """Count an operation of a library that no dispatch shows."""
        self.products.operations += 1
        self.products.bytes += sum(map(_size, moved))
        self.products.flop += flop

    def summary(self) -> dict[str, Any]:
        return {"products": asdict(self.products), "rest": asdict(self.rest)}


def _size(tensor: Tensor) -> int:
    """Bytes; an expanded tensor has no more than its memory."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _is_free(function) -> bool:
    returned = function._schema.returns
    is_view = any(value.alias_info is not None and not value.alias_info.is_write for value in returned)
    return is_view or function.overloadpacket in _FREE


def _moved(function, args, kwargs, out) -> int:
    kind = function.overloadpacket
    tensors = _tensors((args, kwargs))
    if kind in _GATHERS:
        return 2 * sum(map(_size, _tensors(out))) + sum(map(_size, tensors[1:]))
    if kind in _SCATTERS:
        values = tensors[-1]
        return 3 * _size(values) + sum(map(_size, tensors[1:-1]))
    if kind is _ATEN.nll_loss_backward:  # of the log-probabilities it is given the shape
        return sum(map(_size, [tensors[0], *tensors[2:], *_tensors(out)]))
    read, written = {}, {id(tensor): tensor for tensor in _tensors(out)}
    given = dict(zip((argument.name for argument in function._schema.arguments), args, strict=False)) | kwargs
    for argument in function._schema.arguments:
        tensors = {id(tensor): tensor for tensor in _tensors(given.get(argument.name))}
        is_changed = argument.alias_info is not None and argument.alias_info.is_write
        if is_changed:
            written |= tensors
        if not (argument.is_out or (is_changed and kind in _OVERWRITES) or kind in _SHAPES):
            read |= tensors
    return sum(map(_size, [*read.values(), *written.values()]))


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


class _Recurrence(torch.autograd.Function):
    """A recurrent layer of PyTorch as one operation each way: shapes, and what it counts."""

    @staticmethod
    def forward(ctx, traffic: Traffic, x: Tensor, *others: Tensor):
        hidden = others[0].shape[-1]
        y = x.new_empty(*x.shape[:2], hidden)
        states = [torch.empty_like(state) for state in others if state.dim() == 3]
        ctx.traffic, ctx.moved = traffic, [x, *others, y, *states]
        ctx.flop = 2 * x.shape[0] * x.shape[1] * sum(weight.numel() for weight in others if weight.dim() == 2)
        traffic.recurrence(ctx.moved, ctx.flop)
        ctx.save_for_backward(x, *others)
        return y, *states

    @staticmethod
    def backward(ctx, *grads):
        gradients = [torch.empty_like(tensor) for tensor in ctx.saved_tensors]
        ctx.traffic.recurrence([*ctx.moved, *grads, *gradients], 2 * ctx.flop)
        return None, *gradients


@contextmanager
def on_a_gpu_without_data(traffic: Traffic) -> Iterator[None]:
    """New tensors have shapes alone, all say that they are on a GPU, and its library does the recurrences."""

    def recurrence(x: Tensor, state, weights: Sequence[Tensor], *_: Any):
        return _Recurrence.apply(traffic, x, *([state] if isinstance(state, Tensor) else state), *weights)

    library = dict.fromkeys(("lstm", "gru", "rnn_tanh"), recurrence)
    with (
        torch.device("meta"),
        mock.patch.object(torch.Tensor, "is_cuda", property(lambda _: True), create=True),
        mock.patch.multiple(torch, **library),
        mock.patch.multiple(torch._VF, **library),
    ):
        yield


def _model(cell: str, size: int, tied: bool, types: int) -> SequenceModel:
    model = build_language_model(types, cell_of(cell), Recurrent, size, size, tied=tied).train()
    model.objective.precision = Precision.BF16
    return model


def count_ours(cell: str, size: int, tied: bool, types: int = TYPES) -> dict[str, Any]:
    """An update of ours without a constraint as a GPU has it in bf16: 20 streams, 35 steps, no dropout."""
    traffic = Traffic()
    with on_a_gpu_without_data(traffic):
        model = _model(cell, size, tied, types)
        step = Step(model, Unconstrained(), torch.optim.SGD(model.parameters(), lr=LR), CLIP, waits=False)
        x, y = (torch.empty(STEPS, BATCH, dtype=torch.int64) for _ in range(2))
        state = model.initial_state(BATCH)
        with traffic:
            state = step.descend(x, y, state)
            traffic.reset()  # the first update also makes what later ones find
            step.descend(x, y, state)
    return traffic.summary()


def count_plain(cell: str, size: int, tied: bool, types: int = TYPES) -> dict[str, Any]:
    """The same in float32 by the loop that everybody writes: autograd, cross_entropy, clip_grad_norm_, dense SGD."""
    traffic = Traffic()
    with on_a_gpu_without_data(traffic):
        model = PlainModel.like(_model(cell, size, tied, types)).train()
        if tied:
            model.decoder.weight = model.embedding.weight
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        x, y = (torch.empty(STEPS, BATCH, dtype=torch.int64) for _ in range(2))
        state, parts = torch.zeros(1, BATCH, size), len(cell_of(cell).state_type._fields)
        before = (state,) * parts if parts > 1 else state
        with traffic:
            plain_step(model, optimizer, x, y, before, CLIP)
    return traffic.summary()


def count_projection(cell: str, constraint: Constraint, size: int) -> dict[str, Any]:
    """A projection, by a constraint that reads no number, of a model without its decoder."""
    traffic = Traffic()
    with on_a_gpu_without_data(traffic):
        model = _model(cell, size, tied=False, types=TYPES)
        with traffic:
            project(constraint, model)
    return traffic.summary() | {"every": constraint.every}
