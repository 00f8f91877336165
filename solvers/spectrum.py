"""Top of the Hessian's spectrum from Hessian-vector products."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.objective import Array, norm

# Below this size the whole matrix is cheaper than a Krylov space, and ARPACK needs k < size.
_DENSE_SIZE = 24
# Restarts of ARPACK: a spectrum without a gap at its top ends as "not converged" rather than never (its own limit is 10 x.size).
_MAX_RESTARTS = 200


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues (k,) in decreasing order, eigenvectors (k, *x) of unit norm, residual norms |Hv − λv| (k,).

    Unpacks to (values, vectors). Pairs that did not converge are NaN, and `converged` is False.
    """

    values: NDArray[np.float64]
    vectors: Array
    residuals: NDArray[np.float64]
    converged: bool

    def __iter__(self) -> Iterator[Array]:
        return iter((self.values, self.vectors))


def top_eigenpairs(
    objective: Any, x: Array, k: int = 1, tol: float = 1e-6, start: Array | None = None
) -> Eigenpairs:
    """The k algebraically largest eigenvalues of the Hessian of `objective` at x, and their eigenvectors.

    By Lanczos (ARPACK) on ``objective.hvp``. The largest eigenvalue is the sharpness.

    Parameters
    ----------
    objective : Objective
        Its hvp must be self-adjoint for its ``inner``, a multiple of the dot product.
    x : array
    k : int
        From 1 to x.size.
    tol : float
        Relative: |Hv − λv| ≤ tol |λ|. Eigenvalues are then good to about tol² |λ| over the relative gap.
    start : array (k, *x) or (*x), optional
        Warm start, as the eigenvectors at a nearby x.

    Returns
    -------
    Eigenpairs
        Vectors have unit norm in the objective's inner product.

    Raises
    ------
    ValueError
        For k outside its range, or a start whose shape does not fit.
    """
    x = np.asarray(x)
    if not isinstance(k, Integral) or not 1 <= k <= x.size:
        raise ValueError(f"k: {k!r} came, an integer from 1 to x.size = {x.size} is needed")
    v0 = _start_vector(x, start)
    try:
        if x.size <= max(_DENSE_SIZE, 3 * k):
            values, flat = _dense(objective, x, int(k))
        else:
            values, flat = _lanczos(objective, x, int(k), tol, v0)
    except FloatingPointError:  # as in a run that is about to diverge
        values, flat = np.empty(0), np.empty((x.size, 0))
    vectors = flat.T.reshape(-1, *x.shape).astype(x.dtype)
    for v in vectors:
        v /= x.dtype.type(norm(objective, v))
    residuals = np.array(
        [
            norm(objective, objective.hvp(x, v) - x.dtype.type(lam) * v)
            for lam, v in zip(values, vectors, strict=True)
        ]
    )
    missing = k - len(values)
    nan = np.full(missing, np.nan)
    return Eigenpairs(
        np.append(values, nan),
        np.append(vectors, np.full((missing, *x.shape), np.nan, x.dtype), axis=0),
        np.append(residuals, nan),
        missing == 0,
    )


def _start_vector(x: Array, start: Array | None) -> Array:
    if start is None:
        return np.random.default_rng(0).standard_normal(x.size)
    start = np.asarray(start, dtype=np.float64)
    if start.shape[start.ndim - x.ndim :] != x.shape or start.ndim - x.ndim not in (0, 1):
        raise ValueError(f"start: shape {start.shape} came, (k, *{x.shape}) is needed")
    # One Krylov space from the sum of the given vectors holds them all, in exact arithmetic, after k steps.
    total: Array = start.reshape(-1, x.size).sum(axis=0)
    return total


def _product(objective: Any, x: Array, v: Array) -> NDArray[np.float64]:
    """Hv as a flat float64 vector; FloatingPointError where it is not finite."""
    product = objective.hvp(x, v.reshape(x.shape).astype(x.dtype)).ravel().astype(np.float64)
    if not np.all(np.isfinite(product)):
        raise FloatingPointError("the Hessian is not finite")
    flat: NDArray[np.float64] = product
    return flat


def _dense(objective: Any, x: Array, k: int) -> tuple[NDArray[np.float64], Array]:
    columns = [_product(objective, x, e) for e in np.eye(x.size)]
    matrix = np.array(columns, dtype=np.float64)
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return values[::-1][:k], vectors[:, ::-1][:, :k]


def _lanczos(
    objective: Any, x: Array, k: int, tol: float, v0: Array
) -> tuple[NDArray[np.float64], Array]:
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    operator = LinearOperator(
        (x.size, x.size), matvec=lambda v: _product(objective, x, v), dtype=np.float64
    )
    # A small Krylov space, often restarted: a warm start converges in a handful of products. Where the start is an eigenvector
    # already ARPACK goes on from a random one, which SciPy ≥ 1.17 would draw anew in every run.
    space: dict[str, Any] = {"ncv": max(2 * k + 1, 8), "maxiter": _MAX_RESTARTS, "tol": tol}
    if "rng" in inspect.signature(eigsh).parameters:
        space["rng"] = np.random.default_rng(0)
    try:
        values, vectors = eigsh(operator, k=k, which="LA", v0=v0, **space)
    except ArpackNoConvergence as failure:
        values, vectors = failure.eigenvalues, failure.eigenvectors
    order = np.argsort(values)[::-1]
    return values[order], vectors[:, order]
