"""Processes forked from one that has imported everything, so that each starts in milliseconds: scripts, and what is
killed."""

import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_FORKED = multiprocessing.get_context("forkserver")
# Optimizers import torch._dynamo when the first is made, which takes longer than the run.
_FORKED.set_forkserver_preload(
    [
        "stablernn.experiments.command_line",
        "stablernn.experiments.sweep",
        "stablernn.experiments.reproduce",
        "torch._dynamo",
    ]
)


class Child:
    """A process and what it prints."""

    def __init__(self, output: Path, function: Callable, arguments: tuple, errors: Path | None = None) -> None:
        self.output = output
        self.errors = errors or output
        described = (dict(os.environ), output, self.errors, function, arguments)
        self.process = _FORKED.Process(target=_enter, args=described)
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

    def complained(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""


class Children:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Child] = []

    def start(self, function: Callable, *arguments: Any, errors: Path | None = None) -> Child:
        child = Child(self._folder / f"output-{len(self._started)}", function, arguments, errors)
        self._started.append(child)
        return child

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._started:
            child.process.kill()
            child.process.join()


def _enter(environment: dict[str, str], output: Path, errors: Path, function: Callable, arguments: tuple) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file if errors == output else os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    import torch

    torch.set_num_threads(1)  # after a fork there may be no threads; and sums come in one order
    code = 0
    try:
        function(*arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    sys.stdout.flush()
    os._exit(code)  # at once: multiprocessing would wait for the workers of a pool, which outlive their work


def train(config: Any) -> None:
    """One run, with the exit codes of the command line; spares the time to compose the configuration."""
    from stablernn.training.run import run
    from stablernn.utils.errors import StableRNNError

    try:
        run(config)
    except StableRNNError as error:
        print(f"error: {error}", flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def command_line(arguments: list[str]) -> None:
    """``scripts/train.py *arguments``."""
    from stablernn.experiments.command_line import main
    from stablernn.training.run import run

    sys.argv = ["train.py", *arguments]
    main(run, "train")


def script(
    name: str, *arguments: str, cwd: Path, conf: Path | None = None, timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess:
    """What ``python scripts/<name>.py *arguments`` does and prints, but for the seconds in which it imports torch.

    What a module reads when it is imported (GOMP_SPINCOUNT, PYTHONPATH) is that of the tests. A test of the start
    itself takes a fresh interpreter.

    Args:
        name: of the script.
        arguments: its command line.
        cwd: folder that it runs in.
        conf: configurations that it composes from in the place of conf/.
        timeout: seconds that it may take.
        environment: variables, beside those of the test.
    """
    with tempfile.TemporaryDirectory() as folder, Children(Path(folder)) as children:
        child = children.start(run_script, name, arguments, cwd, conf, environment, errors=Path(folder) / "errors")
        code = child.wait(timeout)
        return subprocess.CompletedProcess((name, *arguments), code, child.printed(), child.complained())


def run_script(name: str, arguments: Sequence[str], cwd: Path, conf: Path | None, environment: dict[str, str]) -> None:
    """What ``script`` waits for."""
    from stablernn.config import compose

    os.chdir(cwd)
    os.environ.update(environment)
    if conf is not None:
        compose._composed_from = conf
    path = ROOT / "scripts" / f"{name}.py"
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")
    sys.exit(0)


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
