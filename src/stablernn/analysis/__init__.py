"""Measurements on trained models and on the code itself."""
