"""The state of a sweep, live in the terminal: python scripts/status.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("status")
