"""What is measured in one file: by alternating in one process, only what is missing, and written after each."""

import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stablernn.records.schemas import bench_check
from stablernn.utils.console import log
from stablernn.utils.errors import DamagedFileError
from stablernn.utils.files import read_json, write_json
from stablernn.utils.machine import release_free_memory, return_freed_memory
from stablernn.utils.provenance import commit, device_name, versions
from stablernn.utils.timing import seconds_of


class Measurements:
    """The measurements of a machine, with the machine named; a damaged file counts as none."""

    def __init__(self, path: Path, device: torch.device, fresh: bool) -> None:
        self.path, self.fresh = path, fresh
        machine = {"hardware": device_name(device), "threads": torch.get_num_threads()}
        known: dict[str, Any] = {}
        if path.is_file():
            try:
                known = read_json(path, bench_check(re.split("[-.]", path.name)[0]))
            except DamagedFileError as error:
                log.warning(f"measured again: {error}")
        self.values: dict[str, Any] = {"cases": {}} | (known | machine if fresh else machine | known)

    def job(self, work: Callable[[], Any], *place: str) -> "Job":
        """What fills the entry at ``place``."""
        return Job(self, work, place)

    def write(self) -> None:
        write_json(self.path, self.values | {"versions": versions()})


@dataclass(frozen=True)
class Job:
    """A measurement for one entry of a file; a mapping gets the commit beside it."""

    file: Measurements
    work: Callable[[], Any]
    place: tuple[str, ...]

    @property
    def missing(self) -> bool:
        """Whether the entry is to be measured: it is not there, or all are wanted fresh."""
        return self.file.fresh or self.place[-1] not in self._section()

    def __call__(self) -> None:
        result = self.work()
        self._section()[self.place[-1]] = result | {"commit": commit()} if isinstance(result, dict) else result
        self.file.write()

    def _section(self) -> dict[str, Any]:
        node = self.file.values
        for section in self.place[:-1]:
            node = node.setdefault(section, {})
        return node


def alternate(
    work: Mapping[str, Callable[[], Any]],
    device: torch.device,
    seconds: float,
    least: int = 3,
    around: Callable[[str], AbstractContextManager[Any]] = lambda name: nullcontext(),
) -> dict[str, list[float]]:
    """Seconds of each call, in rounds of all of them.

    Args:
        work: the calls.
        device: that they keep busy.
        seconds: measure for so long.
        least: rounds, unless one alone takes longer than ``seconds``.
        around: what each is called in.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    began, rounds = time.monotonic(), 0
    while work:
        for name, call in work.items():
            with around(name):
                times[name].append(seconds_of(call, device))
        rounds, elapsed = rounds + 1, time.monotonic() - began
        if elapsed >= seconds and (rounds >= least or elapsed / rounds > seconds):
            break
    return times


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in times.items()}


def extra_memory(work: Callable[[], Any], device: torch.device) -> int:
    """Bytes that one call takes at its peak beyond what is held before it; 0 where that is not known."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - held
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        work()
        return 0
    return_freed_memory()
    release_free_memory()
    reset.write_text("5", encoding="ascii")
    held = _resident("VmRSS")
    work()
    return _resident("VmHWM") - held


def _resident(field: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0
