"""The W&B project's workspace and report: python scripts/wandb_workspace.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("wandb_workspace")
