"""The state of a sweep, live in the terminal: python scripts/status.py --help"""

from stablernn.cli import main
from stablernn.dashboards.status import status

if __name__ == "__main__":
    main(status, "status", text=("sweep",))
