"""Let a trained run go on by itself: python scripts/generate.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("generate")
