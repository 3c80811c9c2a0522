"""The engine: the spec, search and early stopping in plain Python, and the runner that drives Ray Tune with them."""
