"""Run records -> tables and figures. Knows no torch."""
