"""The winners of a search and the table of its trials: python scripts/winners.py --help"""

from stablernn.experiments.command_line import main
from stablernn.experiments.winners import winners

if __name__ == "__main__":
    main(winners, "reproduce/winners")
