"""Coarser grids, where a potential is found first: cells doubled along every axis."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from solvers.measures.quantile_functions import Float64


def doubled(values: Float64) -> Float64:
    """Sums over blocks of two cells per axis; cells beyond the end count as 0."""
    for axis in range(values.ndim):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], 2), axis=axis)
    return values


def doubled_centers(centers: tuple[Float64, ...]) -> tuple[Float64, ...]:
    """The centers of the blocks, the last of which may reach beyond the end."""
    return tuple(y[::2] + 0.5 * (y[1] - y[0]) for y in centers)


def refined(phi: Float64, shape: tuple[int, ...]) -> Float64:
    """Values at the centers of blocks, linearly interpolated at those of their cells; −∞ becomes the nearest other value."""
    finite = np.isfinite(phi)
    if not finite.all():
        nearest = distance_transform_edt(~finite, return_distances=False, return_indices=True)
        phi = phi[tuple(nearest)]
    for axis, n in enumerate(shape):
        a = np.moveaxis(phi, axis, 0)
        before, after = 2 * a[:1] - a[1:2], 2 * a[-1:] - a[-2:-1]
        padded = np.concatenate([before, a, after])
        fine = np.empty((2 * len(a), *a.shape[1:]))
        fine[0::2] = 0.75 * a + 0.25 * padded[:-2]
        fine[1::2] = 0.75 * a + 0.25 * padded[2:]
        phi = np.moveaxis(fine[:n], 0, axis)
    return np.ascontiguousarray(phi)
