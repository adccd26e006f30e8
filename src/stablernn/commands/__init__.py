"""The commands of scripts/ and of ``stablernn``: each hands its options to the package and prints what came of it."""
