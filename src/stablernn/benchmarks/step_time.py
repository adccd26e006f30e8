"""Step time of this package against the plain loop, as ratios of medians of alternating steps in one process."""

import itertools
import multiprocessing
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch

from stablernn.benchmarks.measured import alternate, extra_memory, medians
from stablernn.benchmarks.step import Case, Ours, environment, variants
from stablernn.models.precision import (
    Precision,
    choose_precision,
    multiplies_bf16,
    products_of_training,
    set_up_products,
)
from stablernn.stability.constraints.base import Constraint, constrained_cells, project
from stablernn.training.streams import updates_per_second
from stablernn.utils.timing import seconds_of


def cases(models: Sequence[str], sizes: Sequence[int], batches: Sequence[int], ks: Sequence[int | None]) -> list[Case]:
    """Every combination, cheap and telling ones first."""
    return [
        Case(model, stability, size, batch, k)
        for k, batch, size, model, stability in itertools.product(ks, batches, sizes, models, ("unstable", "stable"))
    ]


def measure(case: Case, device: torch.device, seconds: float) -> dict[str, Any]:
    """Times of ours in each precision and of plain, of the parts of ours, and the memory that a step takes.

    Returns:
        Medians in seconds by contender under ``seconds``, of ours' parts under ``parts``, of a recurrent step's matrix
        products alone under ``products_seconds``, and bytes under ``memory``.
    """
    rivals = variants(case, device)
    ours = {name: run for name, run in rivals.items() if isinstance(run, Ours)}
    work = {name: run.step for name, run in rivals.items()}
    bare = {f"bare {name}": name for name in ours if case.k is None}
    work |= {name: case.bare_products(ours[of].precision, device) for name, of in bare.items()}

    def around(name: str) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(rivals[bare.get(name, name)].environment())
        if name in bare:
            stack.enter_context(products_of_training(ours[bare[name]].precision, device))
        return stack

    memory = {}
    for name, run in rivals.items():
        with run.environment():
            memory[name] = extra_memory(run.step, device)  # and warms up
            run.step()
    times = alternate(work, device, seconds, around=around)
    with ours["auto"].environment():
        rounds_of_parts = [ours["auto"].parts() for _ in range(5)]
    for run in ours.values():
        run.release()
    median_of = medians(times)
    return asdict(case) | {
        "rounds": len(times["plain"]),
        "precision": str(ours["auto"].precision),
        "seconds": {name: median_of[name] for name in rivals},
        "parts": medians({name: [parts[name] for parts in rounds_of_parts] for name in rounds_of_parts[0]}),
        "memory": memory,
        "products": case.products(),
        "products_seconds": {of: median_of[name] for name, of in bare.items()},
    }


def measure_constraint(
    model: str, constraint: Constraint, size: int, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Median seconds of an update without the constraint (``without``) and of one that projects (``with``).

    A constraint with ``every`` = n projects at one update in n: on the average an update then takes without +
    (with - without) / n, and ``ratio`` is that by ``without``.
    """
    case = Case(model, "unstable", size, batch=20, k=None)
    precision = choose_precision("auto", device)
    free, bound = Ours(case, device, precision), Ours(case, device, precision)
    for cell, _ in constrained_cells(bound.model):
        constraint.check(cell)

    def projected_step() -> None:
        bound.step()
        project(constraint, bound.model)

    with free.environment():
        for _ in range(2):
            free.step()
            projected_step()
        times = alternate({"without": free.step, "with": projected_step}, device, seconds, least=5)
    median_of = medians(times)
    added = (median_of["with"] - median_of["without"]) / constraint.every
    return {
        "model": model,
        "size": size,
        "seconds": median_of,
        "every": constraint.every,
        "ratio": 1 + added / median_of["without"],
        "rounds": len(times["with"]),
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
    """Tokens a second of runs that train at once: on a GPU as threads of one process, else in a process each."""
    if device.type == "cuda":
        return _tokens_per_second(case, device, jobs, seconds)
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(jobs), context.Queue()
    threads = max(1, torch.get_num_threads() // jobs)
    workers = [context.Process(target=_worker, args=(case, threads, seconds, barrier, queue)) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    rates = [queue.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def _tokens_per_second(case: Case, device: torch.device, jobs: int, seconds: float, barrier: Any = None) -> float:
    precision = choose_precision("auto", device)
    with environment(device, ours=True):
        makers = [lambda: Ours(case, device, precision)] * jobs
        return case.tokens * updates_per_second(makers, device, seconds, barrier)


def _worker(case: Case, threads: int, seconds: float, barrier: Any, queue: Any) -> None:
    torch.set_num_threads(threads)
    queue.put(_tokens_per_second(case, torch.device("cpu"), 1, seconds, barrier))
