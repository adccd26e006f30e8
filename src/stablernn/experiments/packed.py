"""Several runs in one process, a thread each: on a GPU each on a stream of its own, so that the device is never idle.

One update of a recurrent model is a long chain of small kernels that leaves most of a large GPU unused. Runs at once
fill it, and while one of them waits for the device, or launches its graph, the others have the interpreter.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

import torch
from omegaconf import DictConfig

from stablernn.config.identity import run_label
from stablernn.records.record import Record
from stablernn.training.interrupt import Interruption
from stablernn.training.run import run
from stablernn.training.streams import STREAMS
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError, RunInUseError, StableRNNError, too_little_memory
from stablernn.utils.wording import counted

# A record, or why there is none: the run failed, or another process is at work on it. Both are said.
Outcome = tuple[Record | None, str | RunInUseError]


def run_safely(config: DictConfig, shared: Interruption | None = None, beside: int = 1) -> Outcome:
    """``run``, with what ends it by mistake in its outcome.

    Raises:
        torch.OutOfMemoryError: the GPU has too little memory for all that share it, which is for them to decide.
    """
    try:
        return run(config, shared, beside), ""
    except torch.OutOfMemoryError as error:
        if shared is not None:
            raise
        log.error(f"{run_label(config)} failed: {error}")
        return None, str(error)
    except RunInUseError as error:
        log.warning(f"left for the end: {error}")
        return None, error
    except StableRNNError as error:
        log.error(f"{run_label(config)} failed: {error}")
        return None, str(error)
    except Exception as error:
        if (reason := too_little_memory(error)) is not None:
            log.error(f"{run_label(config)} failed: {reason}")
            return None, reason
        # A bug or a full disk: the other runs have a right to continue.
        log.exception(f"{run_label(config)} failed")
        return None, repr(error)


class _Shared(Interruption):
    """The interruption of a pack: each run ends by it first, and then what the signal does otherwise is done."""

    def act(self) -> None:
        raise KeyboardInterrupt


@dataclass(eq=False)
class _Member:
    """A run under way, and whether it has been alone all the time."""

    config: DictConfig
    alone: bool


def run_packed(configs: Sequence[DictConfig], at_once: int) -> Iterator[Outcome]:
    """Run every configuration, ``at_once`` of them side by side; one that fails does not take the others along.

    On a CPU each comes to the numbers that it comes to alone, bit for bit. A run that the GPU has no memory for beside
    the others waits until one of them has ended, and from then on there is one fewer at a time.

    Yields:
        The outcome of each run, as it ends.

    Raises:
        ConfigurationError: the runs are to share a process, but not its settings.
        KeyboardInterrupt, SystemExit: after a signal; the checkpoints of all of them are written.
    """
    for option in ("device", "precision", "threads"):
        values = list(dict.fromkeys(config[option] for config in configs))
        if len(values) > 1:
            raise ConfigurationError(
                f"{option} is {' and '.join(map(str, values))}: runs that share a process share it; choose one value"
            )
    at_once = min(at_once, len(configs))
    if at_once > STREAMS and torch.cuda.is_available() and configs[0].device != "cpu":
        why = f"a GPU has {STREAMS} streams in PyTorch, and a run needs one"
        log.warning(f"at_once={at_once}: {why}: that many at a time")
        at_once = STREAMS
    waiting = deque(configs)
    running: list[_Member] = []
    ended: SimpleQueue[tuple[_Member, Outcome | BaseException]] = SimpleQueue()
    threads = torch.get_num_threads()

    def run_member(member: _Member, beside: int) -> None:
        result: Outcome | BaseException
        try:
            torch.set_num_threads(threads)  # OpenMP counts them for each thread that calls it
            result = run_safely(member.config, shared, beside)
        except BaseException as error:
            result = error.with_traceback(None)  # which holds the run's memory
        ended.put((member, result))

    def start(config: DictConfig) -> None:
        for other in running:
            other.alone = False
        running.append(_Member(config, alone=not running))
        # As daemons: after a second signal nobody waits for them.
        threading.Thread(target=run_member, args=(running[-1], at_once), daemon=True).start()

    with _Shared() as shared:
        try:
            while waiting or running:
                while waiting and len(running) < at_once and not shared.requested:
                    start(waiting.popleft())
                if running:
                    member, result = ended.get()
                    running.remove(member)
                    if isinstance(result, KeyboardInterrupt):
                        waiting.append(member.config)
                    elif isinstance(result, torch.OutOfMemoryError) and not member.alone:
                        at_once = max(1, len(running))
                        waiting.append(member.config)
                        others = counted(at_once, "other")
                        log.warning(f"{run_label(member.config)}: no memory beside {others}, it waits for one to end")
                    elif isinstance(result, torch.OutOfMemoryError):
                        log.error(f"{run_label(member.config)} failed: {result}")
                        yield None, str(result)
                    elif isinstance(result, BaseException):
                        raise result
                    else:
                        yield result
                if shared.requested and not running:
                    shared.pass_on()
        finally:
            shared.abandoned = True
