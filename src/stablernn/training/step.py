"""One update: loss, gradient, clipping by the exact global norm, SGD, projection onto the constraint's set."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stablernn.models.heads.softmax import unit
from stablernn.models.precision import float32_products, products_of_training
from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import detach, join_streams, split_streams
from stablernn.stability.constraints.base import Constraint, Unconstrained, project
from stablernn.tasks.base import count_items
from stablernn.training.adam import FusedAdam, is_plain_adam

_CLIP_EPSILON = 1e-6  # that of torch.nn.utils.clip_grad_norm_


@dataclass(eq=False)
class Step:
    """An update as ``benchmarks.plain.plain_step`` has it in the plainest way, fast.

    The gradient is that of the summed loss; its mean over tokens, the clipping and the learning rate are one factor,
    so a plain SGD update is one pass over each matrix. A step that is not finite changes nothing, and neither does
    any after it.

    Where looking at a number costs nothing (``waits``), the embedding's gradient stays sparse: the rows of the window's
    words. Elsewhere plain SGD and Adam never read one: the sums stay on the device until ``collect`` asks for them.

    Args:
        model, constraint, optimizer: trained, projected on, taken the learning rate from.
        clip: largest global norm of the gradient of the mean loss.
        waits: whether to look at numbers on the way; by default on a CPU.
        accumulate: parts of the streams that are gone through one after the other, their gradients summed: the
            same update, less memory for activations.
    """

    model: SequenceModel
    constraint: Constraint
    optimizer: torch.optim.Optimizer
    clip: float
    waits: bool | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        self.parameters = list(self.model.parameters())
        self.device = self.model.device
        self.plain_sgd = is_plain_sgd(self.optimizer)
        if self.waits is None:
            self.waits = self.device.type == "cpu"
        self.adam = None if self.waits or not is_plain_adam(self.optimizer) else FusedAdam(self.optimizer)
        embedding = self.model.inputs
        if isinstance(embedding, nn.Embedding):
            embedding.sparse = self.plain_sgd and self.waits
        self.by_rows = isinstance(embedding, nn.Embedding) and self.plain_sgd and not self.waits
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.lr = torch.zeros((), dtype=torch.float64, device=self.device)
        self.number = 0  # updates so far; a run that is resumed sets it, as a constraint may count them
        self.nats = torch.zeros((), dtype=torch.float64, device=self.device)
        self.done = torch.zeros((), dtype=torch.int64, device=self.device)
        self.finite = torch.ones((), dtype=torch.bool, device=self.device)

    def __call__(self, x: Tensor, y: Tensor, state: Any, mask: Tensor | None = None) -> Any:
        """One update on x and y, both (T, B, ...), from a state; returns the state after it.

        Args:
            mask: (T, B), False where there is no target; None: there is one everywhere.
        """
        self.set_lr()
        after = self.descend(x, y, state, mask)
        self.project_if_due()
        return after

    def project_if_due(self) -> None:
        """Count the update, and project if it is time."""
        self.number += 1
        if self.number % self.constraint.every == 0:
            self.project()

    def project(self) -> None:
        """Back onto the constraint's set."""
        if not isinstance(self.constraint, Unconstrained):
            self.project_cells()

    def project_cells(self) -> None:
        with float32_products(self.device):
            project(self.constraint, self.model)

    def release(self) -> None:
        """Give up what the device holds for the step beside the model; nothing comes after it."""

    def set_lr(self) -> None:
        self.lr.fill_(self.optimizer.param_groups[0]["lr"])

    def descend(self, x: Tensor, y: Tensor, state: Any, mask: Tensor | None = None) -> Any:
        """All of the step but the projection; on a GPU no operation of it waits, so it can be captured in a graph."""
        for parameter in self.parameters:
            parameter.grad = None
        losses, after = [], []
        self.rows.clear()
        parts = self.accumulate
        masks = [None] * parts if mask is None else mask.chunk(parts, 1)
        streams = zip(x.chunk(parts, 1), y.chunk(parts, 1), split_streams(state, parts), masks, strict=True)
        with products_of_training(self.model.objective.precision, self.device):
            for words, targets, before, there in streams:
                nats, reached = self.loss(words, targets, before, there)
                nats.backward(unit(nats.device))
                losses.append(nats.detach())
                after.append(detach(reached))
        self.apply(torch.stack(losses).sum(), count_items(y, mask))
        return join_streams(after)

    def loss(self, words: Tensor, targets: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        """``model.loss``; by rows, the embedding's gradient is left at the words that were read."""
        if not self.by_rows:
            return self.model.loss(words, targets, state, mask)
        read = self.model.read(words, state)
        embedded = self.model.embedding.weight.detach()[read].requires_grad_()
        self.rows.append((read.flatten(), embedded))
        features, after = self.model.features(read, embedded, state)
        if mask is not None:
            features, targets = features[mask], targets[mask]
        return self.model.objective(features, targets), after

    @torch.no_grad()
    def gather_rows(self) -> tuple[Tensor, Tensor] | None:
        """The embedding's gradient by rows: ids (N,) and gradients (N, E), 0 where an id came before.

        A tied matrix has a gradient for all of its rows anyway, and they are added to it.
        """
        if not self.rows:
            return None
        ids = torch.cat([ids for ids, _ in self.rows])
        gradients = torch.cat([embedded.grad.flatten(0, 1) for _, embedded in self.rows if embedded.grad is not None])
        weight = self.model.embedding.weight
        if weight.grad is not None:
            weight.grad.index_add_(0, ids, gradients)
            return None
        first = (ids[:, None] == ids).int().argmax(1)
        return ids, torch.zeros_like(gradients).index_add_(0, first, gradients)

    @torch.no_grad()
    def apply(self, nats: Tensor, tokens: int) -> None:
        """Clip, count and update, given the gradients of a summed loss ``nats`` over ``tokens``."""
        rows = self.gather_rows()
        norm = global_norm(self.parameters, *(rows[1:] if rows else ())) / tokens
        self.finite &= nats.isfinite() & norm.isfinite()
        self.nats += torch.where(self.finite, nats, 0.0)
        self.done += self.finite
        self._update((self.clip / (norm + _CLIP_EPSILON)).clamp_max(1) / tokens, rows)

    def _update(self, factor: Tensor, rows: tuple[Tensor, Tensor] | None = None) -> None:
        """Step along the gradient times ``factor``, unless a step was not finite."""
        learned = [(parameter, parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        if self.plain_sgd and not self.waits:
            # One pass over each matrix; PyTorch's own guard for loss scaling leaves it alone after a step that was not
            # finite, and the learning rate is a number on the device.
            rate = (self.lr * factor).float()
            weights, gradients = zip(*learned, strict=True)
            torch._fused_sgd_(  # type: ignore[reportPrivateImportUsage]
                weights,
                gradients,
                [],
                weight_decay=0.0,
                momentum=0.0,
                lr=rate,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
                found_inf=(~self.finite).float(),
            )
            if rows is not None:
                ids, gradient = rows
                self.model.embedding.weight.index_add_(0, ids, (gradient * -rate).masked_fill_(~self.finite, 0.0))
        elif self.adam is not None:
            self.adam(self.lr, factor, self.finite)
        elif not self.finite:
            return
        elif self.plain_sgd:
            for parameter, gradient in learned:
                parameter.add_(gradient, alpha=-float(self.lr * factor))
        else:
            for _, gradient in learned:
                gradient.mul_(factor)
            self.optimizer.step()

    def collect(self) -> tuple[float, int]:
        """Summed loss in nats and number of the updates since the last call; waits for the device."""
        nats, done = float(self.nats), int(self.done)
        self.nats.zero_()
        self.done.zero_()
        return nats, done


def global_norm(parameters: Iterable[nn.Parameter], *others: Tensor) -> Tensor:
    """2-norm of all gradients together, and of others that no parameter holds, a float64 scalar.

    Row by row: one float32 sum over the millions of entries of a decoder is off in the fourth digit.
    A sparse gradient is left with its repeated rows summed.
    """
    total: Tensor | None = None
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            parameter.grad = gradient.coalesce()
            gradient = parameter.grad.values()
        rows = torch.linalg.vector_norm(gradient.reshape(len(gradient), -1), dim=1).double()
        squares = rows.dot(rows)
        total = squares if total is None else total + squares
    for gradient in others:
        squares = torch.linalg.vector_norm(gradient, dim=1).double().square().sum()
        total = squares if total is None else total + squares
    assert total is not None, "no parameter has a gradient"
    return total.sqrt()


def is_plain_sgd(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the update is -lr times the gradient, and nothing else."""
    extras = ("momentum", "weight_decay", "nesterov", "maximize")
    return (
        isinstance(optimizer, torch.optim.SGD)
        and len(optimizer.param_groups) == 1
        and not any(optimizer.param_groups[0][extra] for extra in extras)
    )
