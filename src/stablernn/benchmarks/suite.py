"""Which benchmarks there are, and where a machine's measurements lie."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.benchmarks.constraint import benchmark_constraints
from stablernn.benchmarks.large_vocabulary import Case, benchmark_large
from stablernn.benchmarks.sequence_length import Limits, benchmark_sequences, sequence_cases
from stablernn.benchmarks.step_time import benchmark, cases
from stablernn.benchmarks.throughput import benchmark_jobs
from stablernn.benchmarks.traffic import count_all
from stablernn.benchmarks.truncation_curve import benchmark_curve
from stablernn.config.compose import choices
from stablernn.config.instantiate import make
from stablernn.experiments.sweep import cores
from stablernn.records.schemas import bench_check
from stablernn.training.trained import Trained, find_runs
from stablernn.utils.console import duration, log
from stablernn.utils.errors import ConfigurationError, RecordError
from stablernn.utils.files import read_json
from stablernn.utils.provenance import device_name
from stablernn.utils.wording import counted


class Benchmarks:
    """The parts of conf/bench.yaml; each yields the name of what it measures next, and writes after each.

    Attributes:
        steps: file of the step times.
        lengths: file of the sequence lengths and of the truncation curves.
        large: file of the large vocabulary.
        jobs: file of the throughput of several runs at once.
        traffic: file of what an update asks of a GPU; counted, so the same of every machine.
    """

    def __init__(self, options: DictConfig, device: torch.device) -> None:
        self.options = options
        self.device = device
        slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|@", "", device_name(device))).strip("-").lower()
        folder = Path(options.results) / "bench"
        self.steps, self.lengths = folder / f"step-{slug}.json", folder / f"sequences-{slug}.json"
        self.jobs = folder / f"jobs-{slug}.json"
        self.large = folder / f"large-{slug}.json"
        self.traffic = folder / "traffic.json"
        models = choices("model")
        for name, known in (("parts", self._parts), ("models", models)):
            unknown = [choice for choice in options[name] if choice not in known]
            if unknown:
                raise ConfigurationError(f"{name}: {unknown[0]} is unknown: choose of [{','.join(known)}]")
        for name in ("sizes", "batches", "k", "jobs"):
            wrong = [count for count in options[name] if count is not None and count < 1]
            if wrong:
                raise ConfigurationError(f"{name}: {wrong[0]} must be a whole number >= 1")

    def part(self, name: str) -> Iterator[str]:
        return self._parts[name]()

    def about(self, name: str) -> str:
        """What a part measures, and what is known of its time before it starts."""
        options = self.options
        each = {"step": options.seconds, "jobs": options.seconds, "sequences": options.sequences.seconds}.get(name)
        count = self.count(name)
        if name == "traffic":
            return f"{counted(count, 'count')}, some seconds"
        what = f"{counted(count, 'measurement')}, less those that are there already"
        if each is None:
            return f"{what}; how long they take is not known"
        return f"{what}; each takes {each:g} s or more, all of them {duration(count * each)} or more"

    def count(self, name: str) -> int:
        """How many measurements a part consists of, those included that are there already."""
        options = self.options
        if name == "step":
            todo = cases(options.models, options.sizes, options.batches, options.k)
            alone = [case for case in todo if case.k is None and case.stability == "unstable" and case.batch == 20]
            jobs = len(options.jobs) if self.device.type == "cuda" else 0
            constraints = sum(map(len, options.constraints.values())) * len(options.sizes)
            return len(todo) + len(alone) * jobs + constraints
        if name == "sequences":
            asked = options.sequences
            return len(sequence_cases(options.models, asked.size, asked.batches, asked.steps))
        if name == "curve":
            return len(self._curve_runs(quiet=True))
        if name == "large":
            asked = options.large
            texts = 2  # made, and encoded
            return texts + len(asked.batches) * len(asked.heads) * len(asked.precisions) + len(asked.accumulate)
        if name == "traffic":
            asked = options.traffic
            return len(asked.models) + sum(map(len, asked.constraints.values())) * len(asked.sizes)
        possible = [jobs for jobs in options.jobs if self.device.type != "cpu" or jobs <= cores()]
        return len(options.models) * len(options.sizes) * len(possible)

    @property
    def _parts(self) -> dict[str, Callable[[], Iterator[str]]]:
        return {
            "step": self._step,
            "sequences": self._sequences,
            "curve": self._curve,
            "large": self._large,
            "jobs": self._jobs,
            "traffic": self._traffic,
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

    def _curve_runs(self, quiet: bool = False) -> list[Trained]:
        try:
            return find_runs(self.options.curve.run, Path(self.options.runs), self.options.data, self.device)
        except RecordError as error:
            if list(self.options.parts) == ["curve"]:
                raise
            if not quiet:
                log.warning(f"curve: left out, {error}")
            return []

    def _curve(self) -> Iterator[str]:
        asked = self.options.curve
        runs = self._curve_runs()
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

    def _traffic(self) -> Iterator[str]:
        asked: Any = OmegaConf.to_container(self.options.traffic)
        yield from count_all(self.traffic, asked["models"], asked["constraints"], asked["sizes"])
