"""Several runs in one process, in turns: on a GPU each on a stream of its own, so that the device is never idle.

One update of a recurrent model is a long chain of small kernels that leaves most of a large GPU unused. Runs that take
turns fill it: the host hands each of them one update after the other, and waits for none.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from omegaconf import DictConfig

from stablernn.config import run_label
from stablernn.console import log
from stablernn.errors import ConfigurationError
from stablernn.training.attempt import Outcome, attempt_in_turns
from stablernn.training.build import stream_device
from stablernn.training.interrupt import Interruption
from stablernn.training.turns import Lane, Streams
from stablernn.wording import counted


class _Shared(Interruption):
    """The interruption of a pack: each run ends by it first, and then what the signal does otherwise is done."""

    def act(self) -> None:
        raise KeyboardInterrupt


def run_packed(configs: Sequence[DictConfig], at_once: int) -> Iterator[Outcome]:
    """Run every configuration, ``at_once`` of them in turns; one that fails does not take the others along.

    On a CPU each comes to the numbers that it comes to alone, bit for bit. A run that the GPU has no memory for beside
    the others waits until one of them has ended, and from then on there is one fewer at a time.

    Yields:
        The outcome of each run, as it ends.

    Raises:
        ConfigurationError: the runs are to share a process, but not its settings.
        KeyboardInterrupt, SystemExit: after a signal; the checkpoints of all of them are written.
    """
    _check(configs)
    waiting = deque(configs)
    lanes: list[tuple[DictConfig, Lane[Outcome]]] = []
    streams = Streams()

    def end(config: DictConfig, lane: Lane[Outcome]) -> None:
        lanes.remove((config, lane))
        lane.leave()

    with _Shared() as shared:
        while waiting or lanes:
            while waiting and len(lanes) < at_once and not shared.requested:
                config = waiting.popleft()
                turns = attempt_in_turns(config, shared, min(at_once, len(configs)))
                lanes.append((config, Lane(turns, stream_device(config.device), streams)))
            for config, lane in list(lanes):
                try:
                    ended = lane.advance()
                except KeyboardInterrupt:
                    if not shared.requested:  # a second signal: at once
                        raise
                    end(config, lane)
                    waiting.append(config)
                except torch.OutOfMemoryError as error:
                    end(config, lane)
                    if lanes:
                        at_once = len(lanes)
                        waiting.append(config)
                        others = counted(at_once, "other")
                        log.warning(f"{run_label(config)}: no memory beside {others}, it waits for one to end")
                    else:
                        log.error(f"{run_label(config)} failed: {error}")
                        yield None, str(error)
                else:
                    if ended:
                        end(config, lane)
                        yield lane.result
            if shared.requested and not lanes:
                shared.pass_on()


def _check(configs: Sequence[DictConfig]) -> None:
    for option in ("device", "precision", "threads"):
        values = list(dict.fromkeys(config[option] for config in configs))
        if len(values) > 1:
            raise ConfigurationError(
                f"{option} is {' and '.join(map(str, values))}: runs that share a process share it; choose one value"
            )
