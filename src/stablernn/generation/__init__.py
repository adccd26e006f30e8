"""What a trained model goes on with, recurrent and as a feed-forward network."""
