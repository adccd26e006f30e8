"""Rebuild every table and figure from the run records: python scripts/report.py --help"""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.cli import main
from stablernn.report.load import load_records
from stablernn.report.write import print_tables, write_report


def report(options: DictConfig) -> None:
    records = load_records(Path(options.records))
    write_report(records, Path(options.results), Path(options.readme) if options.readme else None)
    print_tables(records)


if __name__ == "__main__":
    main(report, "report")
