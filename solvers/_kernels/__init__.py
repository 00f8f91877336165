"""Numba kernels: plain arrays in, plain arrays out. The only place of this package that compiles code."""
