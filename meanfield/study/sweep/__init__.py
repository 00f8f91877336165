"""Sweeps: one configuration run with every combination of some values of its keys."""
