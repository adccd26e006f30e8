"""Continue a text or a piece with a trained run: python scripts/generate.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("generate")
