"""Step time against the plain PyTorch loop: python scripts/bench.py --help"""

import json
import re
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.constraint_cost import benchmark_constraints
from stablernn.analysis.speed import benchmark, cases, device_name
from stablernn.cli import main
from stablernn.console import console, display, log, open_bar
from stablernn.files import write_text
from stablernn.report.bench import bench_markdown, print_bench
from stablernn.training.run import pick_device


def bench(options: DictConfig) -> None:
    device = pick_device(options.device)
    slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|@", "", device_name(device))).strip("-").lower()
    path = Path(options.results) / "bench" / f"step-{slug}.json"
    todo = cases(options.models, options.sizes, options.batches, options.k)
    jobs = options.jobs if device.type == "cuda" else []
    with display():
        bar = open_bar("cases", len(todo))
        for number, name in enumerate(benchmark(path, todo, jobs, device, options.seconds, options.fresh)):
            bar.update(min(number, len(todo)), name)
        bar.close()
        measured = json.loads(path.read_text(encoding="utf-8"))
        for name in benchmark_constraints(path, measured, options.constraints, options.sizes, device, options.seconds):
            log.info(f"constraint {name}")
    write_text(path.with_suffix(".md"), bench_markdown(measured, OmegaConf.to_container(options.goals)))  # type: ignore[arg-type]
    print_bench(measured)
    console.print(f"written: {path}, and as a table {path.with_suffix('.md').name}", highlight=False)


if __name__ == "__main__":
    main(bench, "bench")
