"""Step times, sequence lengths and truncation curves against plain PyTorch."""

from omegaconf import DictConfig, OmegaConf

from stablernn.benchmarks.suite import Benchmarks
from stablernn.experiments.destinations import located
from stablernn.report.sections.bench import write_bench
from stablernn.report.sections.large import write_large
from stablernn.report.sections.mechanisms import write_mechanisms, write_peers
from stablernn.report.sections.traffic import write_traffic
from stablernn.training.build import pick_device
from stablernn.utils.console import console, display, log, open_bar


def bench(options: DictConfig) -> None:
    options = located(options)
    benchmarks = Benchmarks(options, pick_device(options.device))
    with display(options.progress):
        for part in options.parts:
            console.print(f"{part}: {benchmarks.about(part)}")
            bar = open_bar(part, len(benchmarks.missing(part)))
            for number, name in enumerate(benchmarks.part(part)):
                bar.update(number, name)
                log.info(f"{part} {name}")
            bar.close()
    goals: list = OmegaConf.to_container(options.goals)  # type: ignore[assignment]
    written = write_bench(benchmarks.steps, benchmarks.lengths, benchmarks.jobs, goals)
    written += write_large(benchmarks.large) + write_mechanisms(benchmarks.mechanisms)
    written += write_peers(benchmarks.peers)
    for path in written + write_traffic(benchmarks.traffic):
        console.print(f"written: {path}", soft_wrap=True)
