"""Send offline Weights & Biases runs to the server: python scripts/wandb_sync.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("wandb_sync")
