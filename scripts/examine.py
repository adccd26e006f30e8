"""Examine a trained network of one's own: python scripts/examine.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("examine")
