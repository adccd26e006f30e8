"""Rebuild every table and figure and the page from the run records: python scripts/report.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("report")
