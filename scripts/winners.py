"""The winners of a search and the table of its trials: python scripts/winners.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("winners")
