"""Sets of weights on which a cell is stable, and the projections onto them."""
