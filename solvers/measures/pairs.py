"""Particles in energies: their weights, and their pairs in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._support.arguments import probabilities, wrong_shape
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import check_positions

#: Pairs of particles in a block: a few MiB per array.
_BLOCK = 2**18


def points_and_weights(x: ArrayLike, weights: ArrayLike | None) -> tuple[Float64, Float64]:
    """Positions (N, D) and weights (N,) of particles."""
    x = check_positions("x", x)
    return x, probabilities("weights", weights, (len(x),))


def points_like(name: str, value: ArrayLike, x: Float64, all_of_them: bool = False) -> Float64:
    """Points (M, D) of the same dimension as x (N, D), or of the same shape."""
    points = check_positions(name, value)
    if points.shape[1] != x.shape[1] or (all_of_them and len(points) != len(x)):
        needed = f"{x.shape}" if all_of_them else f"(M, {x.shape[1]})"
        raise wrong_shape(name, f"{needed}, as x", points.shape)
    return points


def pairs_in_blocks(x: Float64, y: Float64) -> Iterator[tuple[NDArray[np.intp], Float64]]:
    """Blocks of rows k of x, with the differences x_k − y_j (len(k)·len(y), D)."""
    rows = max(1, _BLOCK // len(y))
    for start in range(0, len(x), rows):
        k = np.arange(start, min(start + rows, len(x)), dtype=np.intp)
        yield k, (x[k, None] - y).reshape(-1, x.shape[1])
