"""The configuration of a run: its schema, its identity, composing and validating it."""
