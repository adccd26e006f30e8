"""Train one run, or with -m a sweep of runs: python scripts/train.py --help"""

from stablernn.experiments.command_line import main
from stablernn.training.run import run

if __name__ == "__main__":
    main(run, "train")
