"""The loop, scoring, checkpoints, tracking, and one run from its configuration to its record."""
