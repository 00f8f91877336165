"""Anderson acceleration of a fixed-point iteration x ← g(x)."""

from __future__ import annotations

import numpy as np

from solvers.measures.quantile_functions import Float64

#: How far the residual may rise above its minimum before the history is dropped.
_RISE = 1e4
#: Relative cut-off of singular values of the differences: histories soon become nearly linearly dependent.
_RANK = 1e-6


class Anderson:
    """The next point of a fixed-point iteration, from the last few points.

    With r_k = g(x_k) − x_k, the point is g(x_k) − Σ_j γ_j Δg_j with γ minimising |r_k − Σ_j γ_j Δr_j| in a weighted norm, Δ being
    differences of successive iterates. Where the residual rises 10⁴-fold above its minimum, or is not a number, it returns
    to the point of the minimum and takes plain iterations for a while, twice as many every time.

    Parameters
    ----------
    memory : int
        Number of differences.

    References
    ----------
    Anderson 1965; Walker & Ni 2011.
    """

    def __init__(self, memory: int = 8) -> None:
        self._memory = memory
        self._least, self._best = np.inf, np.empty(0)
        self._plain, self._patience = 0, 4
        self._forget()

    def _forget(self) -> None:
        self._last: tuple[Float64, Float64] | None = None
        self._known = 0
        self._residuals = self._images = np.empty((0, 0))

    def following(self, x: Float64, image: Float64, weights: Float64) -> Float64:
        """The point after x, with g(x) = image; `weights` of the entries, ≥ 0."""
        residual, root = image - x, np.sqrt(weights)
        size = float(np.sqrt(weights @ residual**2))
        if size < self._least or len(self._best) == 0:
            self._least, self._best = size, image
        elif not size <= _RISE * self._least and self._last is not None:
            self._forget()
            self._plain, self._patience = self._patience, 2 * self._patience
            return self._best
        if self._plain > 0:
            self._plain -= 1
            return image
        if self._last is None:
            self._last = residual, image
            return image
        if self._known == 0:
            self._residuals, self._images = np.empty((2, self._memory, len(x)))
        row = self._known % self._memory
        np.subtract(residual, self._last[0], out=self._residuals[row])
        np.subtract(image, self._last[1], out=self._images[row])
        self._known, self._last = self._known + 1, (residual, image)
        rows = min(self._known, self._memory)
        result: Float64 = image - self._shares(rows, residual, root) @ self._images[:rows]
        return result

    def _shares(self, rows: int, residual: Float64, root: Float64) -> Float64:
        """γ by the normal equations, which lose digits that the cut-off leaves out."""
        differences = self._residuals[:rows] * root
        products = differences @ differences.T
        sizes = np.sqrt(products.diagonal())
        sizes[sizes == 0.0] = 1.0
        values, vectors = np.linalg.eigh(products / np.multiply.outer(sizes, sizes))
        kept = values > _RANK**2 * values[-1]
        along = vectors.T @ (differences @ (root * residual) / sizes)
        shares: Float64 = vectors[:, kept] @ (along[kept] / values[kept])
        return shares / sizes
