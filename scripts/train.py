"""Train one run, or with -m a sweep of runs: python scripts/train.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("train")
