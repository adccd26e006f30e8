"""Throughput against the number of runs at once: ``hydra/launcher=packed`` on a GPU, ``joblib`` elsewhere."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from stablernn.benchmarks.step import Case
from stablernn.benchmarks.step_time import packed, read_or_begin
from stablernn.experiments.sweep import cores
from stablernn.utils.files import write_json
from stablernn.utils.provenance import commit, versions


def benchmark_jobs(
    path: Path, todo: Sequence[Case], jobs: Sequence[int], device: torch.device, seconds: float, fresh: bool
) -> Iterator[str]:
    """Measure what the file at ``path`` lacks (all of it if ``fresh``), and write it after each measurement.

    Args:
        path: JSON file of one machine.
        todo: what each of the runs trains.
        jobs: numbers of runs; on a CPU those beyond its cores are left out.
        device: which they share.
        seconds: for how long each number of them is watched.

    Yields:
        The name of what is measured next.
    """
    measured = read_or_begin(path, device, fresh, {"cases": {}})
    measured["cores"] = cores()
    measured["in_turns"] = device.type == "cuda"
    for case in todo:
        rates = measured["cases"].setdefault(case.name, {})
        for count in jobs:
            if str(count) in rates or (device.type == "cpu" and count > cores()):
                continue
            yield f"{count} x {case.name}"
            rates[str(count)] = packed(case, device, count, seconds)
            write_json(path, measured | {"versions": versions(), "commit": commit()})
