"""Work on a GPU as one launch: captured in a CUDA graph and replayed.

At these sizes a GPU is done with one kernel before the host has sent the next. Where runs share a GPU each has a
stream of its own, and a graph is captured on the stream that it is replayed on: what cuBLAS keeps per stream, its
workspace, is then never used by two runs at once. PyTorch gives it up with any graph captured on that stream (pytorch
#193402), so the graphs of a run end together, with the run. Masks come from a generator of each run, which its graph
knows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stablernn.console import log
from stablernn.models.language_model import SequenceModel
from stablernn.models.unroll import rebuild, tensors
from stablernn.stability.constraints import Constraint
from stablernn.training.processes import ALONE, Processes
from stablernn.training.step import Step, is_plain_sgd

Work = Callable[[], None]
Record = Callable[[Work], Work]


def recorder(device: torch.device, generator: torch.Generator | None = None) -> Record:
    """What turns work on a device into work that is launched as one; it is not carried out by that.

    Args:
        device: a GPU; its work is captured on the current stream, or on a new one where that is its default.
        generator: that the work draws from.
    """

    def record(work: Work) -> Work:
        stream = torch.cuda.current_stream(device)
        if stream == torch.cuda.default_stream(device):
            stream = torch.cuda.Stream(device)
        graph = torch.cuda.CUDAGraph()
        if generator is not None:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):  # which, if it fails, stays on it
                work()
        except RuntimeError:
            if generator is not None:
                _take_from_graph(generator)
            raise
        return graph.replay

    return record


def _take_from_graph(generator: torch.Generator) -> None:
    """Let a generator draw again whose graph was not completed: until then it is taken for one that is captured."""
    fresh = torch.Generator(generator.device)
    fresh.set_state(generator.get_state())
    generator.graphsafe_set_state(fresh)


class OneLaunch:
    """Work without arguments as one launch.

    Args:
        work: what is done.
        record: what makes a launch of it.
        tried: whether it has been done before; if not, the first time is as it is, as libraries set themselves up then.
    """

    def __init__(self, work: Work, record: Record, tried: bool = False) -> None:
        self._work = work
        self._record = record
        self._tried = tried
        self._launch: Work | None = None

    def __call__(self) -> None:
        if not self._tried:
            self._tried = True
            self._work()
            return
        if self._launch is None:
            self._launch = self._recorded()
        self._launch()

    def release(self) -> None:
        """Give up the launch, and with it the memory of its graph."""
        self._launch = None

    def _recorded(self) -> Work:
        try:
            return self._record(self._work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # some kernel of some version cannot be captured; nothing was carried out yet
            reason = str(error).partition("\n")[0]
            log.warning(f"not captured in a CUDA graph, so launched kernel by kernel, which is slower: {reason}")
            return self._work


class WindowLaunch:
    """``work(x, y, state) -> state`` as one launch.

    A graph reads and writes fixed memory. So there is one set of buffers for x, y and the state, the state is handed on
    inside the graph, and a window of another shape (the last of a pass, the first of a feed-forward model) is
    worked on without it.
    """

    def __init__(self, work: Callable[[Tensor, Tensor, Any], Any], record: Record) -> None:
        self._work = work
        self._launch = OneLaunch(self._on_buffers, record, tried=True)
        self._shapes: Any = None
        self._x: Tensor | None = None

    def __call__(self, x: Tensor, y: Tensor, state: Any) -> Any:
        shapes = [tuple(tensor.shape) for tensor in (x, y, *tensors(state))]
        if self._x is None and shapes == self._shapes:  # twice the same one after the other: the usual ones
            self._x, self._y = x.clone(), y.clone()
            self._state = rebuild(state, (part.clone() for part in tensors(state)))
        if self._x is None or shapes != self._shapes:
            if self._x is None:
                self._shapes = shapes
            return self._work(x, y, state)
        self._x.copy_(x)
        self._y.copy_(y)
        self._write_state(state)
        self._launch()
        return self._state

    def release(self) -> None:
        self._launch.release()

    def _on_buffers(self) -> None:
        assert self._x is not None
        self._write_state(self._work(self._x, self._y, self._state))

    def _write_state(self, state: Any) -> None:
        for buffer, part in zip(tensors(self._state), tensors(state), strict=True):
            if buffer is not part:
                buffer.copy_(part)


@dataclass(eq=False)
class GraphedStep(Step):
    """A step of two launches: descent, and projection where it looks at no number; it never waits.

    Args:
        record: what makes a launch of some work.
        See ``Step`` for the others.
    """

    record: Record = field(kw_only=True)

    def __post_init__(self) -> None:
        self.waits = False
        super().__post_init__()
        assert self.plain_sgd, "another optimizer's step cannot be captured"
        self._descend = WindowLaunch(self.descend, self.record)
        self._project = OneLaunch(super().project, self.record if not self.constraint.looks else lambda work: work)

    def __call__(self, x: Tensor, y: Tensor, state: Any) -> Any:
        self.set_lr()
        after = self._descend(x, y, state)
        self.project_if_due()
        return after

    def project(self) -> None:
        self._project()

    def release(self) -> None:
        torch.cuda.synchronize(self.device)
        self._descend.release()
        self._project.release()


def make_step(
    model: SequenceModel,
    constraint: Constraint,
    optimizer: torch.optim.Optimizer,
    clip: float,
    accumulate: int = 1,
    processes: Processes = ALONE,
    generator: torch.Generator | None = None,
) -> Step:
    """The fastest step for the model's device: on one GPU with plain SGD one that is captured in graphs.

    Args:
        generator: that the model's dropout draws from.
        See ``Step`` for the others.
    """
    device = model.inputs.weight.device
    captured = device.type == "cuda" and is_plain_sgd(optimizer) and model.objective.fixed_shapes
    if captured and processes.size == 1:
        return GraphedStep(
            model, constraint, optimizer, clip, accumulate=accumulate, record=recorder(device, generator)
        )
    return Step(model, constraint, optimizer, clip, accumulate=accumulate, processes=processes)
