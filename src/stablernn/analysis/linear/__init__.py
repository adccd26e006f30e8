"""Gradient descent on linear systems and on their truncations."""
