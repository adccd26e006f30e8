"""What lets the threads of a process share a GPU: a stream for each, waiting that holds up no other, their speed."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

STREAMS = 32  # of a device; PyTorch hands out the first of them again as the 33rd

_free: dict[torch.device, list[torch.cuda.Stream]] = {}


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Put the work of this thread on a stream that is its own meanwhile; nothing changes where the device is no GPU.

    Two runs on one stream would share more than its order (see ``training.graph``). A stream that is given back goes to
    the next one, which finds there the memory that was freed on it.
    """
    if device.type != "cuda":
        yield
        return
    free = _free.setdefault(device, [])
    try:
        stream = free.pop()
    except IndexError:
        stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # what is read here may have been made there
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        free.append(stream)


def wait(device: torch.device) -> None:
    """Wait until the device is done with what it got on the current stream, asleep, so that other threads run."""
    if device.type == "cuda":
        done = torch.cuda.Event(blocking=True)
        done.record()
        done.synchronize()


_WARM_UP = 5
BETWEEN_REPORTS = 50  # updates, as a run has them


def updates_per_second(
    makers: Sequence[Callable[[], Any]], device: torch.device, seconds: float, barrier: Any = None
) -> float:
    """Updates a second of all runs together, each made and trained in a thread, on a GPU on a stream of its own.

    Args:
        makers: make a run each, which has ``step``, ``collect`` and ``release``.
        device: which they share.
        seconds: for how long they are watched, all of them training.
        barrier: where they wait for those of other processes as well; None: there are none.
    """
    ready = barrier or threading.Barrier(len(makers))
    threads = torch.get_num_threads()

    def rate(make: Callable[[], Any]) -> float:
        torch.set_num_threads(threads)
        try:
            with own_stream(device):
                run = make()
                for _ in range(_WARM_UP):
                    run.step()
                run.collect()
                ready.wait()
                began, updates = time.perf_counter(), 0
                while time.perf_counter() - began < seconds:
                    for _ in range(BETWEEN_REPORTS if device.type == "cuda" else 1):
                        run.step()
                        updates += 1
                    wait(device)
                    run.collect()
                reached = updates / (time.perf_counter() - began)
                run.release()
                return reached
        except BaseException:
            ready.abort()  # the others would wait for it
            raise

    with ThreadPoolExecutor(len(makers)) as pool:
        rates = [pool.submit(rate, make) for make in makers]
        errors = [error for each in rates if (error := each.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return sum(each.result() for each in rates)
