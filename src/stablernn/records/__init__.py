"""The run record, and the schema of every file of results."""
