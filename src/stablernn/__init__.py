"""stablernn: an experiment-reproduction harness for *When Recurrent Models Don't Need to Be Recurrent*."""

__version__ = "0.1.0"
