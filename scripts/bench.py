"""Step time, sequence lengths and truncation curves against plain PyTorch: python scripts/bench.py --help"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.constraint_cost import benchmark_constraints
from stablernn.analysis.curve_speed import benchmark_curve
from stablernn.analysis.sequences import Limits, benchmark_sequences, sequence_cases
from stablernn.analysis.speed import benchmark, cases, device_name
from stablernn.cli import main
from stablernn.console import console, display, log, open_bar
from stablernn.report.bench import write_bench
from stablernn.training.run import pick_device
from stablernn.training.trained import find_runs


def bench(options: DictConfig) -> None:
    device = pick_device(options.device)
    slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|@", "", device_name(device))).strip("-").lower()
    folder = Path(options.results) / "bench"
    steps, lengths = folder / f"step-{slug}.json", folder / f"sequences-{slug}.json"

    def step() -> Iterator[str]:
        jobs = options.jobs if device.type == "cuda" else []
        todo = cases(options.models, options.sizes, options.batches, options.k)
        yield from benchmark(steps, todo, jobs, device, options.seconds, options.fresh)
        measured = json.loads(steps.read_text(encoding="utf-8"))
        yield from benchmark_constraints(steps, measured, options.constraints, options.sizes, device, options.seconds)

    def sequences() -> Iterator[str]:
        asked = options.sequences
        todo = sequence_cases(options.models, asked.size, asked.batches, asked.steps)
        limits = Limits(asked.seconds, asked.longest, asked.memory_gb * 2**30)
        yield from benchmark_sequences(lengths, todo, asked.k, device, limits, options.fresh)

    def curve() -> Iterator[str]:
        asked = options.curve
        runs = find_runs(asked.run, Path(options.runs), options.data, device)
        fresh = options.fresh and "sequences" not in options.parts
        yield from benchmark_curve(lengths, runs, asked.k_max, asked.words, asked.plain_words, fresh)

    with display():
        for part in options.parts:
            bar = open_bar(part, 0)
            for number, name in enumerate({"step": step, "sequences": sequences, "curve": curve}[part]()):
                bar.update(number, name)
                log.info(f"{part} {name}")
            bar.close()
    for path in write_bench(steps, lengths, OmegaConf.to_container(options.goals)):  # type: ignore[arg-type]
        console.print(f"written: {path}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main(bench, "bench")
