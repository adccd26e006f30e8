"""The winners of a search and the table of its trials: python scripts/winners.py --help"""

from stablernn.cli import main
from stablernn.winners import winners

if __name__ == "__main__":
    main(winners, "reproduce/winners")
