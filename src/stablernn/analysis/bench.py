"""Which benchmarks there are, and where a machine's measurements lie."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from omegaconf import DictConfig

from stablernn.analysis.constraint_cost import benchmark_constraints
from stablernn.analysis.contenders import CELLS
from stablernn.analysis.curve_speed import benchmark_curve
from stablernn.analysis.jobs import benchmark_jobs
from stablernn.analysis.large import Case, benchmark_large
from stablernn.analysis.sequences import Limits, benchmark_sequences, sequence_cases
from stablernn.analysis.speed import benchmark, cases, device_name
from stablernn.config import make
from stablernn.console import log
from stablernn.errors import ConfigurationError, RecordError
from stablernn.files import read_json
from stablernn.schemas import bench_check
from stablernn.training.trained import find_runs


class Benchmarks:
    """The parts of conf/bench.yaml; each yields the name of what it measures next, and writes after each.

    Attributes:
        steps: file of the step times.
        lengths: file of the sequence lengths and of the truncation curves.
        large: file of the large vocabulary.
        jobs: file of the throughput of several runs at once.
    """

    def __init__(self, options: DictConfig, device: torch.device) -> None:
        self.options = options
        self.device = device
        slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|@", "", device_name(device))).strip("-").lower()
        folder = Path(options.results) / "bench"
        self.steps, self.lengths = folder / f"step-{slug}.json", folder / f"sequences-{slug}.json"
        self.jobs = folder / f"jobs-{slug}.json"
        self.large = folder / f"large-{slug}.json"
        for name, known in (("parts", self._parts), ("models", CELLS)):
            unknown = [choice for choice in options[name] if choice not in known]
            if unknown:
                raise ConfigurationError(f"{name}: {unknown[0]} is unknown: choose of [{','.join(known)}]")
        for name in ("sizes", "batches", "k", "jobs"):
            wrong = [count for count in options[name] if count is not None and count < 1]
            if wrong:
                raise ConfigurationError(f"{name}: {wrong[0]} must be a whole number >= 1")

    def part(self, name: str) -> Iterator[str]:
        return self._parts[name]()

    @property
    def _parts(self) -> dict[str, Callable[[], Iterator[str]]]:
        return {
            "step": self._step,
            "sequences": self._sequences,
            "curve": self._curve,
            "large": self._large,
            "jobs": self._jobs,
        }

    def _step(self) -> Iterator[str]:
        options = self.options
        jobs = options.jobs if self.device.type == "cuda" else []
        todo = cases(options.models, options.sizes, options.batches, options.k)
        yield from benchmark(self.steps, todo, jobs, self.device, options.seconds, options.fresh)
        measured = read_json(self.steps, bench_check("step"))
        yield from benchmark_constraints(
            self.steps, measured, options.constraints, options.sizes, self.device, options.seconds
        )

    def _sequences(self) -> Iterator[str]:
        asked = self.options.sequences
        todo = sequence_cases(self.options.models, asked.size, asked.batches, asked.steps)
        limits = Limits(asked.seconds, asked.longest, asked.memory_gb * 2**30)
        yield from benchmark_sequences(self.lengths, todo, asked.k, self.device, limits, self.options.fresh)

    def _curve(self) -> Iterator[str]:
        asked = self.options.curve
        try:
            runs = find_runs(asked.run, Path(self.options.runs), self.options.data, self.device)
        except RecordError as error:
            if list(self.options.parts) == ["curve"]:
                raise
            log.warning(f"curve: left out, {error}")
            return
        yield from benchmark_curve(self.lengths, runs, asked.k_max, asked.words, asked.plain_words, self.options.fresh)

    def _large(self) -> Iterator[str]:
        asked = self.options.large
        todo = [
            Case(head, precision, asked.size, batch)
            for batch in asked.batches
            for head in asked.heads
            for precision in asked.precisions
        ]
        todo += [Case("full", "auto", asked.size, max(asked.batches), parts) for parts in asked.accumulate]
        text, cutoffs = make(asked.text), asked.cutoffs
        yield from benchmark_large(self.large, text, todo, cutoffs, asked.updates, self.device, self.options.fresh)

    def _jobs(self) -> Iterator[str]:
        options = self.options
        todo = [case for case in cases(options.models, options.sizes, [20], [None]) if case.stability == "unstable"]
        yield from benchmark_jobs(self.jobs, todo, options.jobs, self.device, options.seconds, options.fresh)
