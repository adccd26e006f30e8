"""Replace a trained recurrent model by a feed-forward one: python scripts/convert.py --help"""

from stablernn.commands.start import start

if __name__ == "__main__":
    start("convert")
