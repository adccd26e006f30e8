"""Full and truncated gradient descent on linear systems."""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.analysis.linear.matrix import run_studies
from stablernn.config.instantiate import make
from stablernn.config.validate import check_targets
from stablernn.experiments.destinations import located
from stablernn.report.write import print_linear_systems, write_linear_systems
from stablernn.utils.console import console, display, open_bar


def linear_systems(options: DictConfig) -> None:
    for name in ("matrix", "scalar"):
        check_targets(options[name], name)
    options = located(options)
    studies = [make(options.matrix), make(options.scalar)]
    folder, results = Path(options.records), Path(options.results)
    with display(options.progress):
        bar = open_bar("linear systems", sum(len(list(study.settings())) for study in studies))
        run_studies(studies, folder, options.fresh, on_setting=bar.update)
        bar.close()
    print_linear_systems(folder)
    for path in write_linear_systems(folder, results):
        console.print(f"written: {path}", soft_wrap=True)
