"""The plan of a profile, its runs and the report: python scripts/reproduce.py --help"""

from stablernn.experiments.command_line import main
from stablernn.experiments.reproduce import reproduce

if __name__ == "__main__":
    main(reproduce, "reproduce/plan", text=["overrides"])
