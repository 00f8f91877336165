"""Optimal transport of densities on regular grids, axis by axis: exact costs, their dual, Newton's method for it."""
