"""Rebuild every table and figure and the page from the run records: python scripts/report.py --help"""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.experiments.command_line import main
from stablernn.report.serve import serve
from stablernn.report.write import print_report, write_report
from stablernn.utils.console import console


def report(options: DictConfig) -> None:
    source = Path(options.records)
    *_, page = write_report(source, Path(options.results), Path(options.readme) if options.readme else None)
    print_report(source)
    console.print(f"the page with the verdicts: {page}", highlight=False, soft_wrap=True)
    if options.serve:
        serve(page.parent, options.port)


if __name__ == "__main__":
    main(report, "report")
