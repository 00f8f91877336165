"""Top of the Hessian's spectrum from Hessian-vector products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._arguments import array, count, methods, real
from solvers._repr import compact_repr
from solvers._threads import one_blas_thread
from solvers.lanczos import RitzPairs, lanczos
from solvers.objective import Array, is_spread, norm

# Below this size the whole matrix is cheaper than a Krylov space.
_DENSE_SIZE = 24
# A spectrum without a gap at its top ends as "not converged" rather than never.
_MAX_PRODUCTS = 2000
# What of a warm start is random. Started at an eigenvector that another has overtaken in the meantime, a Krylov space would never
# leave it; the share is too small to cost products, and in every direction far larger than the tolerance.
_RANDOM_SHARE = 0.01


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues (k,) in decreasing order, eigenvectors (k, *x) of unit norm, residual norms |Hv − λv| (k,).

    Unpacks to (values, vectors). Pairs that did not converge are NaN, and `converged` is False.
    """

    values: NDArray[np.float64]
    vectors: Array
    residuals: NDArray[np.float64]
    converged: bool

    __repr__ = compact_repr

    def __iter__(self) -> Iterator[Array]:
        return iter((self.values, self.vectors))


def top_eigenpairs(
    objective: Any, x: Array, k: int = 1, tol: float = 1e-6, start: Array | None = None
) -> Eigenpairs:
    """The k algebraically largest eigenvalues of the Hessian of `objective` at x, and their eigenvectors.

    By the Lanczos method on ``objective.hvp``. The largest eigenvalue is the sharpness.

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
    methods("objective", objective, ["hvp"], "top_eigenpairs")
    x = array("x", x)
    if x.size == 0:
        raise ValueError(f"x must be an array of at least one entry, got shape {x.shape}")
    tol = real("tol", tol, above=0, below=1)
    if is_spread(objective):  # Lanczos' vectors are kept whole, by every process the same
        whole = None if start is None else objective.gather(start)
        found = top_eigenpairs(_Together(objective), objective.gather(x), k, tol, whole)
        return replace(found, vectors=objective.own(found.vectors))
    k = count("k", k, 1, x.size)
    v0 = _start_vector(x, start)
    try:
        with one_blas_thread():  # the eigenvectors' last digits, and with them the run's, then do not depend on their number
            if x.size <= max(_DENSE_SIZE, 3 * k):
                pairs = _dense(objective, x, int(k))
            else:
                pairs = lanczos(lambda v: _product(objective, x, v), v0, int(k), tol, _MAX_PRODUCTS)
    except FloatingPointError:  # as in a run that is about to diverge
        return _no_pairs(x, int(k))
    kept = np.flatnonzero(pairs.converged)
    values = pairs.values[kept]
    vectors = pairs.vectors[kept].reshape(-1, *x.shape).astype(x.dtype)
    for v in vectors:
        v /= x.dtype.type(norm(objective, v))
    none = _no_pairs(x, k - len(kept))
    return Eigenpairs(
        np.append(values, none.values),
        np.append(vectors, none.vectors, axis=0),
        np.append(_residuals(objective, x, values, vectors, pairs.residuals[kept]), none.values),
        len(kept) == k,
    )


def _no_pairs(x: Array, k: int) -> Eigenpairs:
    nan = np.full(k, np.nan)
    return Eigenpairs(nan, np.full((k, *x.shape), np.nan, x.dtype), nan, False)


def _residuals(
    objective: Any, x: Array, values: Array, vectors: Array, claimed: Array
) -> NDArray[np.float64]:
    """The residuals the method claims, exact up to rounding; where that is not small they are measured, a product each."""
    if x.dtype == np.float64:
        return np.asarray(claimed)
    differences = (
        objective.hvp(x, v) - x.dtype.type(lam) * v for lam, v in zip(values, vectors, strict=True)
    )
    return np.array([norm(objective, difference) for difference in differences])


class _Together:
    """A spread objective on whole arrays."""

    def __init__(self, objective: Any) -> None:
        self._objective = objective

    def hvp(self, x: Array, v: Array) -> Array:
        own = self._objective.own
        product: Array = self._objective.gather(self._objective.hvp(own(x), own(v)))
        return product

    def inner(self, u: Array, v: Array) -> float:
        own = self._objective.own
        return float(self._objective.inner(own(u), own(v)))


def _start_vector(x: Array, start: Array | None) -> NDArray[np.float64]:
    random: NDArray[np.float64] = np.random.default_rng(0).standard_normal(x.size)
    if start is None:
        return random
    start = array("start", start).astype(np.float64, copy=False)
    if start.shape[start.ndim - x.ndim :] != x.shape or start.ndim - x.ndim not in (0, 1):
        raise ValueError(f"start: shape {start.shape} came, (k, *{x.shape}) is needed")
    # One Krylov space from the sum of the given vectors holds them all, in exact arithmetic, after k steps.
    total = start.reshape(-1, x.size).sum(axis=0)
    size = float(np.linalg.norm(total))
    if not 0 < size < np.inf:
        return random
    return total + (_RANDOM_SHARE * size / float(np.linalg.norm(random))) * random


def _product(objective: Any, x: Array, v: Array) -> NDArray[np.float64]:
    """Hv as a flat float64 vector; FloatingPointError where it is not finite."""
    product = objective.hvp(x, v.reshape(x.shape).astype(x.dtype)).ravel().astype(np.float64)
    if not np.all(np.isfinite(product)):
        raise FloatingPointError("the Hessian is not finite")
    flat: NDArray[np.float64] = product
    return flat


def _dense(objective: Any, x: Array, k: int) -> RitzPairs:
    columns = [_product(objective, x, e) for e in np.eye(x.size)]
    matrix = np.array(columns, dtype=np.float64)
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    top, rows = values[::-1][:k], vectors.T[::-1][:k]
    residuals = np.linalg.norm(rows @ matrix.T - top[:, None] * rows, axis=1)
    return RitzPairs(top, rows, residuals, np.ones(k, dtype=bool))
