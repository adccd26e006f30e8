"""Text or generator -> vocabulary -> token streams -> windows (x, y). Knows no model."""
