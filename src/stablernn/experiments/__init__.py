"""Many runs: sweeps, search, studies, and `make reproduce`."""
