"""Analyse trained runs: python scripts/analyze.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("analyze")
