"""What a trained model generates, recurrent and as a feed-forward network."""
