"""Step time against the plain PyTorch loop: python scripts/bench.py --help"""

import json
import re
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.speed import cases, ceiling, measure
from stablernn.cli import main
from stablernn.console import console, display, open_bar
from stablernn.files import write_json, write_text
from stablernn.record import commit, processor, versions
from stablernn.report.bench import bench_markdown, print_bench
from stablernn.training.run import pick_device


def bench(options: DictConfig) -> None:
    device = pick_device(options.device)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    slug = re.sub(r"\W+", "-", re.sub(r"\(\w+\)|@", "", hardware)).strip("-").lower()
    path = Path(options.results) / "bench" / f"step-{slug}.json"
    measured = {"hardware": hardware, "threads": torch.get_num_threads(), "cases": {}}
    if path.is_file() and not options.fresh:
        measured = json.loads(path.read_text(encoding="utf-8"))
    else:
        measured |= {"ceiling": ceiling(device)}
    todo = cases(options.models, options.sizes, options.batches, options.k)
    with display():
        bar = open_bar("cases", len(todo))
        for number, case in enumerate(todo, start=1):
            bar.update(number - 1, case.name)
            if case.name not in measured["cases"]:
                measured["cases"][case.name] = measure(case, device, options.seconds) | {"commit": commit()}
                write_json(path, measured | {"versions": versions()})
        bar.close()
    goals = OmegaConf.to_container(options.goals)
    text = bench_markdown(measured, goals)  # type: ignore[arg-type]
    write_text(path.with_suffix(".md"), text)
    print_bench(measured)
    console.print(f"written: {path} and {path.with_suffix('.md').name}", highlight=False)


if __name__ == "__main__":
    main(bench, "bench")
