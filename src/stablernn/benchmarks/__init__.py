"""Speed: this package against plain PyTorch."""
