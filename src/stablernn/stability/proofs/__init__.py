"""Proofs that a cell is contractive, with the bounds they are made of."""
