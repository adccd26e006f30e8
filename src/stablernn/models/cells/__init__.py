"""Recurrent cells: one step of the state transition, h_t = φ(h_{t-1}, x_t)."""
