"""Work on a GPU as one launch: captured in a CUDA graph and replayed.

At these sizes a GPU is done with one kernel before the host has sent the next. Where runs share a GPU each has a
stream of its own, and a graph is captured on the stream that it is replayed on: what cuBLAS keeps per stream, its
workspace, is then never used by two runs at once. PyTorch gives it up with any graph captured on that stream (pytorch
#193402), so the graphs of a run end together, with the run. Masks come from a generator of each run, which its graph
knows.

A replay lets other threads run. A capture does not mind what they do, as long as none of them captures as well, gives
up a graph, or waits for the whole device: so these are done under ``models.precision.exclusive``.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.dropout import draw_from
from stablernn.models.precision import choose_precision, exclusive
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel, build_language_model
from stablernn.models.state import rebuild, tensors
from stablernn.stability.constraints.base import Constraint
from stablernn.stability.constraints.lstm import LSTMStated
from stablernn.training.adam import is_plain_adam
from stablernn.training.step import Step, is_plain_sgd
from stablernn.training.streams import own_stream
from stablernn.utils.console import log

Work = Callable[[], None]
Record = Callable[[Work], Work]

_TRIAL = "import sys; from stablernn.training.graph import trial; trial(sys.argv[1])"
_TRIAL_SECONDS = 120.0


def can_capture(device: torch.device) -> bool:
    """Whether a process that captures its work on a GPU lives on; tried in another one, once, and said if not."""
    with exclusive:
        return _survives(str(device))


@cache
def _survives(device: str) -> bool:
    command = [sys.executable, "-c", _TRIAL, device]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        reason = f"it took more than {_TRIAL_SECONDS:.0f} s"
    else:
        if tried.returncode == 0:
            return True
        reason = (tried.stderr.strip().splitlines() or [f"it ended with {tried.returncode}"])[-1]
    log.warning(f"no CUDA graphs, so work is launched kernel by kernel, which is slower: trying one failed ({reason})")
    return False


def trial(name: str) -> None:
    """Train a small model as runs are trained, in graphs if the device is a GPU; raises if that does not work."""
    device = torch.device(name)
    generator = torch.Generator(device)
    record = recorder(device, generator) if device.type == "cuda" else lambda work: work
    with own_stream(device):
        for optimizer in (torch.optim.SGD, torch.optim.Adam):
            model = build_language_model(64, LSTMCell, Recurrent, 16, 16, dropout=0.1).to(device)
            draw_from(model, generator)
            model.objective.precision = choose_precision("auto", device)
            step = GraphedStep(model, LSTMStated(), optimizer(model.parameters(), lr=0.1), 0.25, record=record)
            x = torch.zeros(8, 4, dtype=torch.int64, device=device)
            state = model.initial_state(4)
            for _ in range(5):
                state = step(x, x, state)
            nats, updates = step.collect()
            if updates != 5:
                raise RuntimeError(f"finite were {updates} of 5 updates, and the loss came to {nats}")
            step.release()


def recorder(device: torch.device, generator: torch.Generator | None = None) -> Record:
    """What turns work on a device into work that is launched as one; it does not run by that.

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
        capture = torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local")
        try:
            with torch.cuda.stream(stream), capture:  # which, if it fails, stays on its stream
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
        self._work: Work | None = work
        self._record = record
        self._tried = tried
        self._launch: Work | None = None

    def __call__(self) -> None:
        assert self._work is not None, "released"
        if not self._tried:
            self._tried = True
            self._work()
            return
        if self._launch is None:
            with exclusive:
                self._launch = self._recorded(self._work)
        self._launch()

    def release(self) -> None:
        """Give up the launch, with it the memory of its graph, and whatever the work belongs to."""
        with exclusive:
            self._launch = self._work = None

    def _recorded(self, work: Work) -> Work:
        try:
            return self._record(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # some kernel of some version cannot be captured; nothing has run yet
            reason = str(error).partition("\n")[0]
            log.warning(f"not captured in a CUDA graph, so launched kernel by kernel, which is slower: {reason}")
            return work


class WindowLaunch:
    """``work(x, y, state) -> state`` as one launch.

    A graph reads and writes fixed memory. So there is one set of buffers for x, y and the state, the state is handed on
    inside the graph, and a window of another shape (the last of a pass, the first of a feed-forward model) is
    worked on without it.
    """

    def __init__(self, work: Callable[[Tensor, Tensor, Any], Any], record: Record) -> None:
        self._work: Callable[[Tensor, Tensor, Any], Any] | None = work
        self._launch = OneLaunch(self._on_buffers, record, tried=True)
        self._shapes: Any = None
        self._buffers: tuple[Tensor, Tensor, Any] | None = None

    def __call__(self, x: Tensor, y: Tensor, state: Any) -> Any:
        assert self._work is not None, "released"
        shapes = [tuple(tensor.shape) for tensor in (x, y, *tensors(state))]
        if self._buffers is None and shapes == self._shapes:  # twice the same one after the other: the usual ones
            self._buffers = (x.clone(), y.clone(), rebuild(state, (part.clone() for part in tensors(state))))
        if self._buffers is None:
            self._shapes = shapes
        if self._buffers is None or shapes != self._shapes:
            return self._work(x, y, state)
        self._write((x, y, state))
        self._launch()
        return self._buffers[2]

    def release(self) -> None:
        """As that of ``OneLaunch``, and the buffers."""
        self._launch.release()
        self._work = self._buffers = None

    def _on_buffers(self) -> None:
        assert self._work is not None
        assert self._buffers is not None
        x, y, state = self._buffers
        self._write((x, y, self._work(x, y, state)))

    def _write(self, values: tuple[Tensor, Tensor, Any]) -> None:
        for buffer, part in zip(tensors(self._buffers), tensors(values), strict=True):
            if buffer is not part:
                buffer.copy_(part)


@dataclass(eq=False)
class GraphedStep(Step):
    """A step of two launches: descent, and projection where it reads no number; it never waits."""

    record: Record = field(kw_only=True)

    def __post_init__(self) -> None:
        self.waits = False
        super().__post_init__()
        assert can_be_captured(self.optimizer), "another optimizer's step cannot be captured"
        self._descend = WindowLaunch(self.descend, self.record)
        captured = not self.constraint.synchronizes
        self._project = OneLaunch(super().project_cells, self.record if captured else lambda work: work)

    def __call__(self, x: Tensor, y: Tensor, state: Any, mask: Tensor | None = None) -> Any:
        assert mask is None, "a graph has one shape"
        self.set_lr()
        after = self._descend(x, y, state)
        self.project_if_due()
        return after

    def project_cells(self) -> None:
        self._project()

    def release(self) -> None:
        with exclusive:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self._descend.release()
            self._project.release()


def can_be_captured(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its update waits for no number."""
    return is_plain_sgd(optimizer) or is_plain_adam(optimizer)


def make_step(
    model: SequenceModel,
    constraint: Constraint,
    optimizer: torch.optim.Optimizer,
    clip: float,
    accumulate: int = 1,
    generator: torch.Generator | None = None,
    graphs: bool = True,
) -> Step:
    """The fastest step for the model's device: on one GPU with plain SGD or Adam one that is captured in graphs."""
    device = model.device
    fits = device.type == "cuda" and can_be_captured(optimizer) and model.objective.fixed_shapes
    if graphs and fits and can_capture(device):
        return GraphedStep(
            model, constraint, optimizer, clip, accumulate=accumulate, record=recorder(device, generator)
        )
    return Step(model, constraint, optimizer, clip, accumulate=accumulate)
