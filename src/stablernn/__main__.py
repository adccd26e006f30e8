"""``python -m stablernn`` is ``stablernn``, also where the folder of commands is not on the PATH."""

from stablernn.commands.start import stablernn

if __name__ == "__main__":
    stablernn()
