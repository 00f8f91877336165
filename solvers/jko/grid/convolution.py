"""W*μ on the cells of a grid."""

from __future__ import annotations

from functools import reduce
from itertools import product

import numpy as np
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.special import roots_jacobi

from solvers._support.memory import fitting
from solvers.measures.energies import Interaction
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Grid
from solvers.measures.scalar_field import ScalarField

#: Nodes of Gauss–Jacobi quadrature, whose error for a logarithm decreases with their square.
_NODES = 64


class Convolution:
    """(W*μ)(x_c) = Σ_d W(x_c − x_d) m_d, masses at the centers; W(0), where not finite, is W's mean over pairs within the cell.

    On the line a matrix (n, n), else a fast Fourier transform, which needs cells of one size.

    Raises
    ------
    ValueError
        For a W that is not even or not finite; in two dimensions or more, for cells of different sizes; for a matrix that does
        not fit the memory.
    """

    def __init__(self, term: Interaction, grid: Grid) -> None:
        self._is_line = grid.dimension == 1
        if self._is_line:
            x = grid.centers[0]
            fitting("grid", f"{len(x)} cells on a line with an Interaction", len(x), len(x))
            differences, widths = (
                np.subtract.outer(x, x)[..., None],
                np.diff(grid.edges[0])[:, None],
            )
        else:
            differences, widths = (
                _offsets(grid),
                np.array([[np.diff(axis)[0] for axis in grid.edges]]),
            )
        shape = differences.shape[:-1]
        values = term.field.values(differences.reshape(-1, grid.dimension)).reshape(shape)
        mirrored = values.T if self._is_line else np.flip(values)
        if not np.allclose(values, mirrored, atol=1e-12, equal_nan=True):
            raise ValueError("function must be even, W(x − y) = W(y − x), got one that is not")
        at_zero = np.nonzero((differences == 0).all(axis=-1))
        if not np.all(np.isfinite(values[at_zero])):
            values[at_zero] = [mean_within(term.field, h) for h in widths]
        if not np.all(np.isfinite(values)):
            raise ValueError(
                "function must be finite at the differences of cell centers, got non-finite values"
            )
        if self._is_line:
            self._matrix = values
            return
        # Only entries that are not used wrap around in the circular convolution.
        self._shape = [int(next_fast_len(2 * n - 1, real=True)) for n in grid.masses.shape]
        self._transform = rfftn(values, self._shape)
        self._center = tuple(slice(n - 1, 2 * n - 1) for n in grid.masses.shape)

    def __call__(self, masses: Float64) -> Float64:
        """W*μ, shaped like masses."""
        if self._is_line:
            return self._matrix @ masses
        product = self._transform * rfftn(masses, self._shape)
        result: Float64 = irfftn(product, self._shape)[self._center]
        return result


def mean_within(field: ScalarField, widths: Float64) -> float:
    """E[W(x − y)] of independent x, y, uniform in a cell of sides h (D,): along an axis |x − y| = s h has density 2(1 − s)."""
    x, w = roots_jacobi(_NODES, 1.0, 0.0)
    s, w = 0.5 * (x + 1.0), 0.5 * w
    dimension = len(widths)
    mesh = np.stack(np.meshgrid(*[s] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    weights = reduce(np.multiply.outer, [w] * dimension).ravel()
    signs = [np.array([1.0, *rest]) for rest in product((1.0, -1.0), repeat=dimension - 1)]
    means = [weights @ field.values(sign * mesh * widths) for sign in signs]
    return float(np.mean(means))


def _offsets(grid: Grid) -> Float64:
    """Differences of cells, (2 n1 − 1, 2 n2 − 1, …, D)."""
    along = []
    for axis in grid.edges:
        widths = np.diff(axis)
        if np.ptp(widths) > 1e-9 * widths.max():
            raise ValueError(
                "cells must be of equal width for an interaction in two dimensions or more, got widths from "
                f"{widths.min():.6g} to {widths.max():.6g}"
            )
        n, h = len(widths), (axis[-1] - axis[0]) / len(widths)
        along.append(h * np.arange(1 - n, n))
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1)
