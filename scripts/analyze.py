"""Analyse trained runs: python scripts/analyze.py --help"""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from stablernn.analysis.analyse import analyse
from stablernn.checks import check_targets
from stablernn.cli import main
from stablernn.config import make
from stablernn.console import console, display
from stablernn.report.drawing import export
from stablernn.report.load import by_text
from stablernn.report.write import rich_table
from stablernn.training.build import pick_device
from stablernn.training.trained import find_runs


def analyze(options: DictConfig) -> None:
    check_targets(options.analysis, "analysis")
    runs = find_runs(options.run, Path(options.runs), options.data, pick_device(options.device))
    analysis = make(options.analysis)
    with display(options.progress):
        found = [(trained.record, result) for trained, result in analyse(analysis, runs, options.fresh)]
    for text, of_text in by_text(found):  # numbers of several texts are not to be compared
        console.print(f"on {text}", highlight=False)
        console.print(rich_table(make(options.table)(of_text)))
    if found and options.figures is not None:
        for record, result in found:
            for figure in make(options.figures)([(record, result)]):
                svg, png = export(replace(figure, where=record.id), Path(options.runs) / record.id)
                console.print(f"figure: {svg} (and {png.suffix})", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main(analyze, "analyze")
