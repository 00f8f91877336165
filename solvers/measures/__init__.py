"""Probability measures by particles, by cells of a grid, by quantiles; their energies and entropies."""

from solvers.measures.representations import Grid, Measure, Particles, Quantiles

__all__ = ["Grid", "Measure", "Particles", "Quantiles"]
