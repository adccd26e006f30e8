"""Looking at runs: their state in the terminal, and Weights & Biases. No result depends on anything here."""
