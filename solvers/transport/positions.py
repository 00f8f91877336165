"""Positions scaled and shifted so that arithmetic with their squares is accurate."""

from __future__ import annotations

import numpy as np

from solvers.measures.quantile_functions import Float64


def near_the_origin(x: Float64, y: Float64) -> tuple[Float64, Float64, int]:
    """Both (n, D), (m, D) relative to a point amid x, divided by a power of two of about the largest size, and its exponent.

    Products and squares are then as accurate as the distances between points, wherever these are, and do not over- or underflow.
    """
    x, y = x.copy(), y.copy()
    exponent = _scale(x, y)
    center = np.median(x, axis=0)
    x -= center
    y -= center
    return x, y, exponent + _scale(x, y)


def root_mean_square(x: Float64) -> float:
    """√((1/n) Σ_i |x_i|²) of (n, D)."""
    exponent = _exponent(x)
    squares = np.ldexp(x, -exponent)
    squares *= squares
    return float(np.ldexp(np.sqrt(np.sum(squares) / len(x)), exponent))


def _scale(x: Float64, y: Float64) -> int:
    """Scale both in place; the exponent."""
    exponent = max(_exponent(x), _exponent(y))
    for positions in (x, y):
        np.ldexp(positions, -exponent, out=positions)
    return exponent


def _exponent(x: Float64) -> int:
    """Exponent of the smallest power of two above all coordinates."""
    return int(np.frexp(max(np.max(x), -np.min(x)))[1])


def squared_distances(x: Float64, y: Float64) -> Float64:
    """|x_i − y_j|² (n, m), by SciPy, imported here as that takes as long as all else in a small run."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, y, "sqeuclidean"))
