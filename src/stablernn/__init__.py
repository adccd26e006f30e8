"""stablernn: an experiment-reproduction harness for *When Recurrent Models Don't Need to Be Recurrent*."""

import os

__version__ = "0.1.0"

# Threads of libgomp, which PyTorch's CPU wheels carry, wait for each other by spinning for milliseconds. Beside another
# busy process they so keep the very thread that they wait for from its core. Fewer turns cost nothing measurable on an
# idle machine. It is read once, when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
