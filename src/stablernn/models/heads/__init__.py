"""What stands above the features: probabilities and the loss."""
