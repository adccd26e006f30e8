"""The state of a sweep, live in the terminal: python scripts/status.py --help"""

from stablernn.experiments.command_line import main
from stablernn.monitoring.status import status

if __name__ == "__main__":
    main(status, "status", text=("sweep",))
