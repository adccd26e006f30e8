"""What every stage uses and that knows nothing of the rest: errors, files, the terminal, the machine."""
