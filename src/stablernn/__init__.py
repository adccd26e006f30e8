"""stablernn: an experiment-reproduction harness for *When Recurrent Models Don't Need to Be Recurrent*.

The public names below are imported when they are first used, so that ``import stablernn`` takes no time.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stablernn.analysis.conversion.converted import load_converted
    from stablernn.examination.api import certify_on, convert, curve, task, train, truncate
    from stablernn.examination.examine import examine
    from stablernn.examination.network import from_torch
    from stablernn.stability.certificates import certify

__version__ = "0.1.0"

__all__ = [
    "certify",
    "certify_on",
    "convert",
    "curve",
    "examine",
    "from_torch",
    "load_converted",
    "task",
    "train",
    "truncate",
]

_WHERE = {
    "certify": "stability.certificates",
    "examine": "examination.examine",
    "from_torch": "examination.network",
    "load_converted": "analysis.conversion.converted",
}

# Threads of libgomp, which PyTorch's CPU wheels carry, wait for each other by spinning for milliseconds. Beside another
# busy process they so keep the very thread that they wait for from its core. Fewer turns cost nothing measurable on an
# idle machine. It is read once, when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE.get(name, 'examination.api')}"), name)
