"""Rebuild every table and figure and the page from the run records."""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.experiments.destinations import results_of
from stablernn.report.serve import serve
from stablernn.report.write import print_report, write_report
from stablernn.utils.console import console
from stablernn.utils.project import in_checkout


def report(options: DictConfig) -> None:
    home = in_checkout()
    auto = {"records": "results/records" if home else options.runs, "results": str(results_of(options.runs))}
    auto["readme"] = "README.md" if home else None
    source, results, readme = (auto[name] if options[name] == "auto" else options[name] for name in auto)
    source = Path(source)
    *_, page = write_report(source, Path(results), Path(readme) if readme else None)
    print_report(source)
    console.print(f"the page with the verdicts: {page}", soft_wrap=True)
    if options.serve:
        serve(page.parent, options.port)
