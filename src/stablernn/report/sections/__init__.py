"""The sections of the report: one table each."""
