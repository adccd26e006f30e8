"""Step time of this package against the plain loop, as ratios of medians of alternating steps in one process."""

import gc
import itertools
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from stablernn.benchmarks.step import Case, Environment, Ours, variants
from stablernn.models.precision import (
    Precision,
    choose_precision,
    multiplies_bf16,
    products_of_training,
    set_up_products,
)
from stablernn.records.schemas import bench_check
from stablernn.training.rate import BETWEEN_REPORTS, updates_per_second
from stablernn.utils.console import log
from stablernn.utils.errors import DamagedFileError
from stablernn.utils.files import read_json, write_json
from stablernn.utils.machine import release_free_memory, return_freed_memory
from stablernn.utils.provenance import commit, device_name, versions
from stablernn.utils.timing import seconds_of


def cases(models: Sequence[str], sizes: Sequence[int], batches: Sequence[int], ks: Sequence[int | None]) -> list[Case]:
    """Every combination, cheap and telling ones first."""
    return [
        Case(model, stability, size, batch, k)
        for k, batch, size, model, stability in itertools.product(ks, batches, sizes, models, ("unstable", "stable"))
    ]


def benchmark(
    path: Path, todo: Sequence[Case], jobs: Sequence[int], device: torch.device, seconds: float, fresh: bool
) -> Iterator[str]:
    """Measure what the file at ``path`` lacks (all of it if ``fresh``), and write it after each case.

    Args:
        path: JSON file of one machine.
        todo: steps to measure.
        jobs: numbers of runs at once; their throughput is measured in the recurrent, unstable cases of batch 20.
        device, seconds: see ``measure``.

    Yields:
        The name of what is measured next.
    """
    measured = read_or_begin(path, device, fresh, {"cases": {}, "packed": {}})
    if "ceiling" not in measured:
        measured["ceiling"] = ceiling(device)
    for case in todo:
        yield case.name
        if case.name not in measured["cases"]:
            measured["cases"][case.name] = measure(case, device, seconds) | {"commit": commit()}
            write_json(path, measured | {"versions": versions()})
    for case, count in itertools.product(todo, jobs):
        if case.k is None and case.stability == "unstable" and case.batch == 20:
            yield f"{count} x {case.name}"
            rates = measured["packed"].setdefault(case.name, {})
            if str(count) not in rates:
                rates[str(count)] = packed(case, device, count, seconds)
                write_json(path, measured | {"versions": versions()})


def read_or_begin(path: Path, device: torch.device, fresh: bool, empty: dict[str, Any]) -> dict[str, Any]:
    """What was measured before, or a new file's content, with the machine named; a damaged file counts as none."""
    if path.is_file() and not fresh:
        try:
            return read_json(path, bench_check(re.split("[-.]", path.name)[0]))
        except DamagedFileError as error:
            log.warning(f"measured again: {error}")
    return {"hardware": device_name(device), "threads": torch.get_num_threads(), "versions": versions()} | empty


def measure(case: Case, device: torch.device, seconds: float) -> dict[str, Any]:
    """Times of ours in each precision and of plain, of the parts of ours, and the memory that a step takes.

    Args:
        case: what to measure, on random words of a WikiText-2 sized vocabulary.
        device: where.
        seconds: alternate for about so long, but for three rounds at least where a round takes less than it.

    Returns:
        Medians in seconds by contender under ``seconds``, of ours' parts under ``parts``, of a recurrent step's matrix
        products alone under ``products_seconds``, and bytes under ``memory``.
    """
    rivals = variants(case, device)
    times: dict[str, list[float]] = {name: [] for name in rivals}
    ours = {name: run for name, run in rivals.items() if isinstance(run, Ours)}
    bare = {name: case.bare_products(run.precision, device) for name, run in ours.items() if case.k is None}
    bare_times: dict[str, list[float]] = {name: [] for name in bare}
    memory = {}
    for name, run in rivals.items():
        with run.environment():
            memory[name] = extra_memory(run.step, device)  # and warms up
            run.step()
    began = time.monotonic()
    while True:
        for name, run in rivals.items():
            with run.environment():
                times[name].append(seconds_of(run.step, device))
        for name, multiply in bare.items():
            with ours[name].environment(), products_of_training(ours[name].precision, device):
                bare_times[name].append(seconds_of(multiply, device))
        rounds = len(times["plain"])
        elapsed = time.monotonic() - began
        if elapsed >= seconds and (rounds >= 3 or elapsed / rounds > seconds):
            break
    medians = {name: statistics.median(values) for name, values in times.items()}
    with ours["auto"].environment():
        rounds_of_parts = [ours["auto"].parts() for _ in range(5)]
    parts = {name: statistics.median(parts[name] for parts in rounds_of_parts) for name in rounds_of_parts[0]}
    for run in ours.values():
        run.release()
    return asdict(case) | {
        "rounds": rounds,
        "precision": str(ours["auto"].precision),
        "seconds": medians,
        "parts": parts,
        "memory": memory,
        "products": case.products(),
        "products_seconds": {name: statistics.median(values) for name, values in bare_times.items()},
    }


def ceiling(device: torch.device) -> dict[str, float]:
    """The most that a product of square matrices reaches here, in operations a second, by precision."""
    size = 8192 if device.type == "cuda" else 2048
    reached = {}
    set_up_products(device)
    with products_of_training(Precision.BF16, device):
        for dtype in (torch.float32, torch.bfloat16) if multiplies_bf16(device) else (torch.float32,):
            a, b = torch.randn(2, size, size, device=device, dtype=dtype)
            best = min(seconds_of(lambda a=a, b=b: torch.mm(a, b), device) for _ in range(8))
            reached[str(dtype).removeprefix("torch.")] = 2 * size**3 / best
    return reached


def packed(case: Case, device: torch.device, jobs: int, seconds: float) -> float:
    """Tokens a second of ``jobs`` runs that train at once on one device: on a GPU as threads of one process, else in a
    process each.

    Args:
        case: what each of them trains.
        device: which they share; on a CPU its cores are divided among them.
        jobs: how many.
        seconds: for how long they are watched, all of them running.
    """
    if device.type == "cuda":
        return _as_threads(case, device, jobs, seconds)
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(jobs), context.Queue()
    threads = max(1, torch.get_num_threads() // jobs)
    workers = [
        context.Process(target=_pack_one, args=(case, device, threads, seconds, barrier, queue)) for _ in range(jobs)
    ]
    for worker in workers:
        worker.start()
    rates = [queue.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def _as_threads(case: Case, device: torch.device, jobs: int, seconds: float) -> float:
    """As ``experiments.packed`` has them."""
    precision = choose_precision("auto", device)
    with Environment(device, ours=True):
        return case.tokens * updates_per_second([lambda: Ours(case, device, precision)] * jobs, device, seconds)


def _pack_one(case: Case, device: torch.device, threads: int, seconds: float, barrier, queue) -> None:
    torch.set_num_threads(threads)
    ours = Ours(case, device, choose_precision("auto", device))
    with ours.environment():
        for _ in range(3):
            ours.step()
        ours.collect()
        barrier.wait()
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            ours.step()
            steps += 1
            if steps % BETWEEN_REPORTS == 0:
                ours.collect()
        ours.collect()
        queue.put(steps * case.tokens / (time.perf_counter() - began))


def extra_memory(work: Callable[[], Any], device: torch.device) -> int:
    """Bytes that one call takes at its peak beyond what is held before it; 0 where that cannot be told."""
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
