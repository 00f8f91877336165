"""Sliced transport: the Wasserstein-2 distance of one-dimensional projections, averaged over directions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._support.threads import one_blas_thread
from solvers.measures.quantile_functions import Float64, Pieces, squared_distance

#: Smallest number of independent groups of directions: the standard error is estimated from their means.
GROUPS = 8
#: Projected coordinates per block.
BLOCK = 2**20


def directions(dimension: int, projections: int, seed: int) -> Float64:
    """Unit vectors, orthogonal within a group and independent between groups, each uniform on the sphere.

    A group has min(D, projections/8) of them. A complete basis integrates |θ·v|² exactly, so the part of a distance due to a
    shift or a change of scale has no error, at no cost (Rowland et al. 2019).

    Returns
    -------
    (groups, k, D), groups · k ≥ projections by less than k
    """
    size = max(1, min(dimension, projections // GROUPS))
    groups = -(-projections // size)
    rng = np.random.default_rng(seed)
    basis, triangle = np.linalg.qr(rng.standard_normal((groups, dimension, size)))
    signs = np.sign(np.einsum("gkk->gk", triangle))  # without them the basis would not be uniform
    result: Float64 = np.swapaxes(basis * signs[:, None, :], 1, 2)
    return result


def sliced_w2_squared(
    x: Float64, y: Float64, a: Float64, b: Float64, projections: int, seed: int
) -> tuple[float, float]:
    """SW2² = E_θ[W2²(θ·x, θ·y)] over the sphere, and its standard error over groups of directions.

    Parameters
    ----------
    x, y : (n, D), (m, D)
    a, b : (n,), (m,)
        Weights of sum one.
    projections : int
        At least 2; see `directions`.
    """
    with one_blas_thread():  # the last digits would otherwise depend on the number of threads
        theta = directions(x.shape[1], projections, seed)
        values = slices(x, y, a, b, theta.reshape(-1, x.shape[1]))
    means = values.reshape(theta.shape[:2]).mean(axis=1)
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means)))


def slices(x: Float64, y: Float64, a: Float64, b: Float64, theta: Float64) -> Float64:
    """W2²(θ_l·x, θ_l·y) of every direction (L, D), exact: (L,)."""
    width = max(1, BLOCK // (len(x) + len(y)))
    uniform = np.all(a == a[0]) and np.all(b == b[0])
    levels = _common_levels(len(x), len(y)) if uniform else None
    blocks = []
    for start in range(0, len(theta), width):
        block = theta[start : start + width]
        projected = block @ x.T, block @ y.T
        if levels is None:
            blocks.append(_weighted(*projected, a, b))
        else:
            blocks.append(_uniform(*projected, levels))
    return np.concatenate(blocks)


class _Levels(NamedTuple):
    """Lengths of the intervals between the levels i/n and j/m, and the indices of the sorted points on them."""

    lengths: Float64
    of_x: NDArray[np.intp]
    of_y: NDArray[np.intp]


def _common_levels(n: int, m: int) -> _Levels:
    of_x, of_y = np.arange(n + 1) / n, np.arange(m + 1) / m
    levels = np.union1d(of_x, of_y)
    i = np.searchsorted(of_x[1:-1], levels[:-1], side="right")
    j = np.searchsorted(of_y[1:-1], levels[:-1], side="right")
    return _Levels(np.diff(levels), i, j)


def _uniform(x: Float64, y: Float64, levels: _Levels) -> Float64:
    """For equal weights: the quantile functions are the sorted points, (L, n) and (L, m)."""
    x.sort(axis=1)
    y.sort(axis=1)
    gap = x - y if x.shape == y.shape else x[:, levels.of_x] - y[:, levels.of_y]
    gap *= gap
    result: Float64 = gap @ levels.lengths
    return result


def _weighted(x: Float64, y: Float64, a: Float64, b: Float64) -> Float64:
    return np.array(
        [
            squared_distance(_pieces(one, a), _pieces(other, b))
            for one, other in zip(x, y, strict=True)
        ]
    )


def _pieces(x: Float64, weights: Float64) -> Pieces:
    order = np.argsort(x, kind="stable")
    return Pieces.of(weights[order], x[order], x[order])
