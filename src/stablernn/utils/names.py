"""Names that may be part of a path, a label or a cell."""

import re
from typing import Any

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]*")


LONGEST_NAME = 100  # letters; a run's id joins several, and a file system takes 255


def is_name(value: Any) -> bool:
    """Whether a value may be part of a path, a label or a cell: letters of ASCII, digits and ``_.+=-`` alone."""
    return isinstance(value, str) and len(value) <= LONGEST_NAME and NAME.fullmatch(value) is not None
