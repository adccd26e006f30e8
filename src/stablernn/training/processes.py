"""One run on several processes, as torchrun starts them: each trains on its share of the streams.

    torchrun --nproc-per-node 2 scripts/train.py training.batch_size=40

The gradients of the summed loss are added up, so an update is that of one process with all the streams; every process
then takes it for itself. The first one alone scores, writes and speaks.
"""

import datetime
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stablernn.utils.errors import ConfigurationError, StableRNNError
from stablernn.utils.wording import counted

_PATIENCE = datetime.timedelta(days=2)  # the others wait while the first one scores
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those of its run; every method but ``first`` is called by all of them together."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each gradient becomes the sum of those of all processes; a missing one counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def sum(self, value: Tensor) -> Tensor:
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether it is set anywhere: what depends on a clock or a signal must be agreed on."""
        if self.size == 1:
            return flags
        agreed = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return tuple(map(bool, agreed.tolist()))

    def by_first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives in the first process.

        Raises:
            StableRNNError: in all of them, if it raised one there.
        """
        if self.size == 1:
            return work()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = work()
            except StableRNNError as error:
                box[1] = error
        dist.broadcast_object_list(box)
        if box[1] is not None:
            raise box[1]
        return box[0]

    def in_turn(self, work: Callable[[], T]) -> T:
        """``work`` in the first process, and only when it is done there, in the others; raises as ``by_first``."""
        done: list[T] = []
        self.by_first(lambda: done.append(work()))
        return done[0] if done else work()

    def gather(self, value: T) -> list[T]:
        """The values of all processes in the first one, in the others nothing."""
        if self.size == 1:
            return [value]
        results: list[Any] | None = [None] * self.size if self.first else None
        dist.gather_object(value, results)
        return results or []


ALONE = Processes()


def world_size() -> int:
    """How many processes torchrun started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device(device: torch.device) -> torch.device:
    """Of the GPUs of a machine the one of this process.

    Raises:
        ConfigurationError: there are fewer GPUs than processes, or all are to use the same.
    """
    if device.type != "cuda" or world_size() == 1:
        return device
    there = torch.cuda.device_count()
    if device.index is not None or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > there:
        raise ConfigurationError(
            f"device={device}: torchrun started several processes and each needs a GPU of its own: choose device=cuda, "
            f"and --nproc-per-node no larger than the {counted(there, 'GPU')} here"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Meet the other processes of the run; a process alone has nobody to meet."""
    if world_size() == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
