"""Certificates on a text: how far truncation can move a model on the inputs of that text, whatever others would do."""

from stablernn.stability.on_text import cells, elementwise, rnn  # which register what they know of each cell
from stablernn.stability.on_text.bounds import text_bounds

__all__ = ["cells", "elementwise", "rnn", "text_bounds"]
