"""Cells (one step of φ), unrolling (full, feed-forward), the language model. Knows no training."""
