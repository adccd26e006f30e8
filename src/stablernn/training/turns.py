"""Work that gives way: a generator that yields after each piece of it, so that several runs can share one device.

Nothing runs at the same time on the host. But a GPU that is given work by each of several runs in turn, each on a
stream of its own, has always something to do.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
Turns = Generator[None, None, T]


def finish(turns: Turns[T]) -> T:
    """Carry work out without giving way; what it returns."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            return end.value


def arrival(device: torch.device) -> Turns[None]:
    """Give way until the device is done with what it got on the current stream; then reading a number costs no wait."""
    if device.type == "cuda":
        event = torch.cuda.Event()
        event.record()
        while not event.query():
            yield


class Streams:
    """Streams of a device that are handed out and given back.

    PyTorch has 32 of them, and hands out the first again as the 33rd. Two runs on one stream would share more than
    its order (see ``training.graph``), and memory that is freed on a stream serves that stream first.
    """

    def __init__(self) -> None:
        self._free: list[torch.cuda.Stream] = []

    def take(self, device: torch.device) -> torch.cuda.Stream:
        return self._free.pop() if self._free else torch.cuda.Stream(device)

    def give_back(self, stream: torch.cuda.Stream) -> None:
        self._free.append(stream)


class Lane(Generic[T]):
    """Turns on a stream of their own, where the device is a GPU.

    Args:
        turns: what is done; nothing of it has begun.
        device: where.
        streams: that it takes its own from, until ``leave``; None: a new one.
    """

    result: T

    def __init__(self, turns: Turns[T], device: torch.device, streams: Streams | None = None) -> None:
        self._turns = turns
        self._streams = streams or Streams()
        self._stream = self._streams.take(device) if device.type == "cuda" else None
        if self._stream is not None:  # what it reads was made on the current one
            self._stream.wait_stream(torch.cuda.current_stream(device))

    def advance(self) -> bool:
        """Take a turn; True if it was the last, and then ``result`` is what the turns return."""
        with self._on_stream():
            try:
                next(self._turns)
            except StopIteration as end:
                self.result = end.value
                return True
        return False

    def leave(self) -> None:
        """Give the stream back; no turn comes after it."""
        if self._stream is not None:
            self._streams.give_back(self._stream)

    def _on_stream(self) -> AbstractContextManager:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def on_own_stream(turns: Turns[T], device: torch.device) -> T:
    """``finish``, where the device is a GPU on a stream of its own."""
    lane = Lane(turns, device)
    while not lane.advance():
        pass
    return lane.result
