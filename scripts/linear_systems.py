"""Full and truncated gradient descent on linear systems: python scripts/linear_systems.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("linear_systems")
