"""Constraints that make a cell stable, certificates that it is, and how stable it is on data. Reads models."""

from stablernn.stability.certificates import Certificate, certify

__all__ = ["Certificate", "certify"]
