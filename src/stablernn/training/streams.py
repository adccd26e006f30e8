"""What lets the threads of a process share a GPU: a stream for each, and waiting that holds up no other."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    """Wait until the device is done with what it got on the current stream, asleep, so that other threads go on."""
    if device.type == "cuda":
        done = torch.cuda.Event(blocking=True)
        done.record()
        done.synchronize()
