"""The plan of a profile, its runs and the report: python scripts/reproduce.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("reproduce")
