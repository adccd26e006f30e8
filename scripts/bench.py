"""Step times, sequence lengths and truncation curves against plain PyTorch: python scripts/bench.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("bench")
