"""The Lanczos method with thick restarts, for the largest eigenvalues of a symmetric operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_SPARE_PAIRS = 4  # Ritz pairs kept at a restart beyond those asked for


@dataclass(frozen=True)
class RitzPairs:
    """Eigenvalues (k,) in decreasing order, orthonormal vectors (k, size), residual norms (k,), which converged (k,)."""

    values: Vector
    vectors: Vector
    residuals: Vector
    converged: NDArray[np.bool_]


def lanczos(
    product: Callable[[Vector], Vector], start: Vector, k: int, tol: float, max_products: int
) -> RitzPairs:
    """The k largest eigenvalues of a symmetric operator, and their eigenvectors, from the Krylov space of a start.

    With an orthonormal basis V of m rows, T = V H Vᵀ = S diag(λ) Sᵀ and a remainder β q ⊥ V of H v_m, the residual of the pair
    (λ_i, Sᵀ_i V) is β |S_mi|. It is looked at after every product, so that a good start costs as few as it deserves. A full basis
    is restarted with the best Ritz vectors and q.

    Parameters
    ----------
    product : callable
        v (size,) ↦ Hv.
    start : (size,)
        Not zero.
    k : int
        From 1 to size.
    tol : float
        Converged are pairs whose residual is at most tol |λ|.
    max_products : int
        Where it stops if they are not; at least k.

    References
    ----------
    Wu, Simon, Thick-restart Lanczos method for large symmetric eigenvalue problems, SIAM J. Matrix Anal. Appl. 22 (2000).
    """
    capacity = min(max(16, 2 * k + 2 * _SPARE_PAIRS), start.size)
    basis = np.empty((capacity + 1, start.size))
    projected = np.zeros((capacity, capacity))  # T, above its diagonal
    basis[0] = start / np.linalg.norm(start)
    m = 0
    for _ in range(max_products):
        rest = product(basis[m])
        m += 1
        for _ in range(2):  # once leaves rounding errors of the size of what was removed
            overlap = basis[:m] @ rest
            rest = rest - overlap @ basis[:m]
            projected[:m, m - 1] += overlap
        beta = float(np.linalg.norm(rest))
        values, rotation = np.linalg.eigh(projected[:m, :m], UPLO="U")
        values, rotation = values[::-1], rotation[:, ::-1]
        residuals = beta * np.abs(rotation[-1])
        # Rounding of the operator itself: no pair can be better than that.
        rounding = np.finfo(np.float64).eps * float(np.abs(values).max())
        converged = residuals <= np.maximum(tol * np.abs(values), rounding)
        if m >= k and bool(converged[:k].all()):
            break
        basis[m] = rest / beta if beta > rounding else _orthogonal(basis[:m])
        if m == capacity:
            m = min(k + _SPARE_PAIRS, capacity - 1)
            basis[:m] = rotation[:, :m].T @ basis[:capacity]
            basis[m] = basis[capacity]
            projected[:] = np.diag(np.append(values[:m], np.zeros(capacity - m)))
    vectors = rotation[:, :k].T @ basis[: len(rotation)]
    return RitzPairs(values[:k], vectors, residuals[:k], converged[:k])


def _orthogonal(basis: Vector) -> Vector:
    """A random unit vector orthogonal to the rows: the space of the start is invariant, there is more outside it."""
    vector = np.random.default_rng(len(basis)).standard_normal((1, basis.shape[1]))
    for _ in range(2):
        vector = vector - (vector @ basis.T) @ basis
    unit: Vector = vector[0] / np.linalg.norm(vector)
    return unit
