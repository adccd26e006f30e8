"""Whether the package runs from a checkout or is installed, where its configurations lie, how a command is typed."""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = (_PACKAGE / "conf").is_dir()  # where a wheel puts conf/

# The project's root; None where the package is installed without one.
CHECKOUT = None if _INSTALLED else _PACKAGE.parents[1]
CONFIG_FOLDER = (CHECKOUT or _PACKAGE) / "conf"


def in_checkout() -> bool:
    """Whether the current folder is the project's own, which has its results/ and README.md."""
    return CHECKOUT is not None and Path.cwd() == CHECKOUT.resolve()


def command(name: str) -> str:
    """How to type a command, as the one that runs was typed: ``stablernn train`` or ``python scripts/train.py``."""
    program = Path(sys.argv[0])
    subcommand = name.replace("_", "-")
    if program.parts[-2:] == ("stablernn", "__main__.py"):
        return f"python -m stablernn {subcommand}"
    if program.stem == "stablernn" or CHECKOUT is None:
        return f"stablernn {subcommand}"
    return f"python scripts/{name}.py"
