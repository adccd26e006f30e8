"""Processes to be killed: forked from one that has imported everything, so that each starts in milliseconds."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FORKED = multiprocessing.get_context("forkserver")
# Optimizers import torch._dynamo when the first is made, which takes longer than the run.
_FORKED.set_forkserver_preload(["stablernn.cli", "stablernn.training.sweep", "torch._dynamo"])


class Child:
    """A process and what it prints."""

    def __init__(self, output: Path, function: Callable, arguments: tuple) -> None:
        self.output = output
        self.process = _FORKED.Process(target=_enter, args=(dict(os.environ), output, function, arguments))
        self.process.start()

    def wait(self, seconds: float = 120) -> int:
        """Exit code; the negative number of the signal that ended it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running after {seconds} s: {self.printed()}"
        return self.process.exitcode

    def running(self) -> bool:
        return self.process.is_alive()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL after so long; False if it had ended by itself."""
        self.process.join(seconds)
        self.process.kill()
        return self.wait() == -signal.SIGKILL

    def printed(self) -> str:
        return self.output.read_text() if self.output.exists() else ""


class Children:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Child] = []

    def start(self, function: Callable, *arguments: Any) -> Child:
        child = Child(self._folder / f"output-{len(self._started)}", function, arguments)
        self._started.append(child)
        return child

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._started:
            child.process.kill()
            child.process.join()


def _enter(environment: dict[str, str], output: Path, function: Callable, arguments: tuple) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    torch.set_num_threads(1)  # after a fork there may be no threads; and sums come in one order
    try:
        function(*arguments)
    except SystemExit as end:  # at once: multiprocessing would wait for the workers of a pool, which outlive their work
        sys.stdout.flush()
        os._exit(int(end.code or 0))


def train(config: Any) -> None:
    """One run, with the exit codes of the command line; spares the time to compose the configuration."""
    from stablernn.errors import StableRNNError
    from stablernn.training.run import run

    try:
        run(config)
    except StableRNNError as error:
        print(f"error: {error}", flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def command_line(arguments: list[str]) -> None:
    """``scripts/train.py *arguments``."""
    from stablernn.cli import main
    from stablernn.training.run import run

    sys.argv = ["train.py", *arguments]
    main(run, "train")


def dies_while_writing(config: Any, point: str, number: int) -> None:
    """``train``, killed by itself within the ``number``-th file that it writes.

    Args:
        config: of the run.
        point: "half written" (half of what was to be flushed is there), "before the rename" or "after the rename".
        number: 1, 2, ...; a run that writes fewer files ends.
    """
    flush, rename = os.fsync, Path.replace
    written = 0

    def counting(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == number and point != "after the rename":
            if point == "half written":
                os.truncate(f"/proc/self/fd/{descriptor}", os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    def replacing(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if written == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    os.fsync = counting
    Path.replace = replacing  # type: ignore[method-assign]
    train(config)


def on_a_small_disk(config: Any, largest: int) -> None:
    """``train`` where no file can grow beyond ``largest`` bytes."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    train(config)


def until(condition: Callable[[], bool], child: Child, seconds: float = 60) -> None:
    """Wait for what a child is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert child.running(), f"it ended before: {child.printed()}"
        assert time.monotonic() < deadline, f"not within {seconds} s: {child.printed()}"
        time.sleep(0.005)


def moments(seed: int, name: str) -> random.Random:
    """Random numbers of a test's own, the same for the same seed."""
    return random.Random(f"{seed} {name}")
