"""Constraints that make a cell stable. Reads models."""
