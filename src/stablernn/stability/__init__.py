"""Constraints that make a cell stable, certificates that it is, and how stable it is on data. Reads models."""

from importlib import import_module
from pkgutil import iter_modules

from stablernn.stability import proofs
from stablernn.stability.certificates import Certificate, certify

__all__ = ["Certificate", "certify"]

for _proof in iter_modules(proofs.__path__, f"{proofs.__name__}."):  # each registers itself with ``prove``
    import_module(_proof.name)
