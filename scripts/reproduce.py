"""The plan of a profile, its runs and the report: python scripts/reproduce.py --help"""

from stablernn.cli import main
from stablernn.reproduce import reproduce

if __name__ == "__main__":
    main(reproduce, "reproduce/plan", text=["overrides"])
