"""The step as one launch: captured in a CUDA graph and replayed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stablernn.models.language_model import SequenceModel
from stablernn.models.unroll import rebuild, tensors
from stablernn.stability.constraints import Constraint
from stablernn.training.processes import ALONE, Processes
from stablernn.training.step import Step, is_plain_sgd


class GraphedStep(Step):
    """A step whose kernels are launched together: at these sizes a GPU is done with one before the host sends the next.

    A graph reads and writes fixed memory. So there is one set of buffers for x, y and the state, the state is handed on
    inside the graph, and a window of another shape (the last of a pass, the first of a feed-forward model) runs
    without it. The projection stays outside, as it may have to look at its result.
    """

    def __init__(
        self,
        model: SequenceModel,
        constraint: Constraint,
        optimizer: torch.optim.Optimizer,
        clip: float,
        accumulate: int = 1,
    ) -> None:
        super().__init__(model, constraint, optimizer, clip, waits=False, accumulate=accumulate)
        assert self.plain_sgd, "another optimizer's step cannot be captured"
        self._replay: Callable[[], None] | None = None
        self._shapes: Any = None

    def __call__(self, x: Tensor, y: Tensor, state: Any) -> Any:
        shapes = [tuple(tensor.shape) for tensor in (x, y, *tensors(state))]
        if self._replay is None:
            if shapes != self._shapes:  # once as it is: libraries set themselves up in the first call
                self._shapes = shapes
                return super().__call__(x, y, state)
            self._x, self._y = x.clone(), y.clone()
            self._state = rebuild(state, (part.clone() for part in tensors(state)))
            self._replay = self._record(self._work)
        if shapes != self._shapes:
            return super().__call__(x, y, state)
        self.set_lr()
        self._x.copy_(x)
        self._y.copy_(y)
        self._write_state(state)
        self._replay()
        self.project()
        return self._state

    def _work(self) -> None:
        self._write_state(self.descend(self._x, self._y, self._state))

    def _write_state(self, state: Any) -> None:
        for buffer, part in zip(tensors(self._state), tensors(state), strict=True):
            if buffer is not part:
                buffer.copy_(part)

    def _record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the kernels of ``work`` without running them; what comes back launches them."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay


def make_step(
    model: SequenceModel,
    constraint: Constraint,
    optimizer: torch.optim.Optimizer,
    clip: float,
    accumulate: int = 1,
    processes: Processes = ALONE,
) -> Step:
    """The fastest step for the model's device: on one GPU with plain SGD one that is captured in a graph."""
    captured = model.inputs.weight.is_cuda and is_plain_sgd(optimizer) and model.objective.fixed_shapes
    if captured and processes.size == 1:
        return GraphedStep(model, constraint, optimizer, clip, accumulate)
    return Step(model, constraint, optimizer, clip, accumulate=accumulate, processes=processes)
