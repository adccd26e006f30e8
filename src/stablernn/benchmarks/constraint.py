"""What a constraint costs: the step with and without it, alternating in one process."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stablernn.benchmarks.step import Case, Ours
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.models.precision import choose_precision
from stablernn.stability.constraints.base import Constraint, constrained_cells, project
from stablernn.utils.files import write_json
from stablernn.utils.provenance import commit
from stablernn.utils.timing import seconds_of


def benchmark_constraints(
    path: Path,
    measured: dict[str, Any],
    constraints: Mapping[str, Sequence[str]],
    sizes: Sequence[int],
    device: torch.device,
    seconds: float,
) -> Iterator[str]:
    """Measure what ``measured["constraints"]`` lacks, and write it to ``path`` after each.

    Args:
        path: JSON file of one machine.
        measured: what it holds.
        constraints: choices of ``stability=`` by model.
        sizes: d.
        device, seconds: see ``measure_constraint``.

    Yields:
        The name of what is measured next.
    """
    result = measured.setdefault("constraints", {})
    for model, choices in constraints.items():
        for size in sizes:
            for choice in choices:
                name = f"{model}-{choice}-d{size}"
                yield name
                if name not in result:
                    constraint = make(compose("train", [f"model={model}", f"stability={choice}"]).stability.constraint)
                    result[name] = measure_constraint(model, constraint, size, device, seconds) | {
                        "model": model,
                        "stability": choice,
                        "size": size,
                        "commit": commit(),
                    }
                    write_json(path, measured)


def measure_constraint(
    model: str, constraint: Constraint, size: int, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Median seconds of an update without the constraint (``without``) and of one that projects (``with``).

    A constraint with ``every`` = n projects at one update in n: on the average an update then takes without +
    (with - without) / n, and ``ratio`` is that by ``without``.

    Args:
        model: a choice of ``model=``, recurrent, 20 streams.
        constraint: to be measured.
        size: d.
        device: where.
        seconds: alternate for so long, but for five rounds at least.
    """
    case = Case(model, "unstable", size, batch=20, k=None)
    precision = choose_precision("auto", device)
    free, bound = Ours(case, device, precision), Ours(case, device, precision)
    for cell, _ in constrained_cells(bound.model):
        constraint.check(cell)

    def projected_step() -> None:
        bound.step()
        project(constraint, bound.model)

    times: dict[str, list[float]] = {"without": [], "with": []}
    with free.environment():
        for _ in range(2):
            free.step()
            projected_step()
        began = time.monotonic()
        while time.monotonic() - began < seconds or len(times["with"]) < 5:
            times["without"].append(seconds_of(free.step, device))
            times["with"].append(seconds_of(projected_step, device))
    medians = {name: statistics.median(values) for name, values in times.items()}
    added = (medians["with"] - medians["without"]) / constraint.every
    return {
        "seconds": medians,
        "every": constraint.every,
        "ratio": 1 + added / medians["without"],
        "rounds": len(times["with"]),
    }
