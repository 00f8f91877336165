"""Top of the Hessian's spectrum from Hessian-vector products."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._support.arguments import array, count, flag, methods, real, wrong_shape
from solvers._support.reprs import compact_repr
from solvers._support.threads import one_blas_thread
from solvers.objective import Array, check_like, is_spread, norm
from solvers.spectrum.lanczos import ASYMMETRY, NOT_SYMMETRIC, RitzPairs, lanczos

# Up to this size the full matrix is cheaper than a Krylov space.
_DENSE_SIZE = 24
# A spectrum without a gap at its top ends as "not converged" rather than running forever.
_MAX_PRODUCTS = 2000
# Relative size of the random part of a warm start. A new larger eigenvalue hides behind the start's if it is closer than the
# tolerance times the start's share over its own in the random part, about √size/2: with a random part of a tenth, products are
# not fewer, and eigenvalues within 0.1% at tolerance 1e-6 were missed. It is small in a block, whose pairs converge at once.
_RANDOM_SHARE, _BLOCK_SHARE = 2.0, 0.1
_LOOSE = 1e-4  # tolerance, to which a block of good guesses converges at once


@dataclass(frozen=True)
class Eigenpairs:
    """The largest eigenvalues of a Hessian, their eigenvectors and residuals. Unpacks to (values, vectors).

    Attributes
    ----------
    values : (k,)
        In decreasing order. Pairs that did not converge, or above which a larger one may be missing, are NaN.
    vectors : (k, *x)
        Of unit norm.
    residuals : (k,)
        |Hv − λv|.
    converged : bool
        Whether all pairs did. Not where products are not finite, or turn out not to be symmetric.

    Examples
    --------
    >>> bowl = meanfield.landscapes.Landscape(lambda x: 1.5 * x[0] ** 2 + 0.5 * x[1] ** 2)
    >>> values, vectors = solvers.top_eigenpairs(bowl, np.array([0.0, 0.0]), k=2)
    >>> values.round(6), abs(vectors).round(6)
    (array([3., 1.]), array([[1., 0.],
           [0., 1.]]))
    """

    values: NDArray[np.float64]
    vectors: Array
    residuals: NDArray[np.float64]
    converged: bool

    __repr__ = compact_repr

    def __iter__(self) -> Iterator[Array]:
        return iter((self.values, self.vectors))


def top_eigenpairs(
    objective: Any,
    x: Array,
    k: int = 1,
    tol: float = 1e-6,
    start: Array | None = None,
    above: float | None = None,
    certify: bool = True,
) -> Eigenpairs:
    """The k (algebraically) largest eigenvalues of the Hessian of `objective` at x, and their eigenvectors.

    Eigenvalues are repeated according to multiplicity. Computed by a block Lanczos method on ``objective.hvp`` that continues
    until it is certain that no larger one is missing, with a failure probability of about one in a hundred over its (fixed)
    random vectors; up to x.size = 24 or 3k by the full matrix. The largest eigenvalue is the sharpness.

    Parameters
    ----------
    objective : Objective
        Its hvp must be self-adjoint for its ``inner``, a multiple of the dot product.
    x : array
    k : int
        From 1 to x.size.
    tol : float
        Relative: |Hv − λv| ≤ tol |λ|, and no missing eigenvalue exceeds λ_k by more than tol |λ_k|. Eigenvalues are then
        accurate to about tol² |λ| over the relative gap; all to the rounding of the largest.
    start : array (s, *x) or (*x), optional
        Warm start, e.g. the eigenvectors at a nearby x. An eigenvalue may then be missed that exceeds λ_k by less than about
        tol |λ_k| √x.size/2.
    above : float, optional
        Only eigenvalues above this are needed, which may take far fewer products. Other pairs are only
        estimates, and do not affect `converged`.
    certify : bool
        False omits the products that exclude a missing larger eigenvalue: for a start whose vectors are known to lead to all.

    Returns
    -------
    Eigenpairs
        Vectors have unit norm in the objective's inner product.

    Raises
    ------
    ValueError
        For a parameter out of range, or a start of wrong shape.

    Examples
    --------
    The Hessian of E = ½(3x² + y²) has the eigenvalues 3 and 1.

    >>> bowl = meanfield.landscapes.Landscape(lambda x: 1.5 * x[0] ** 2 + 0.5 * x[1] ** 2)
    >>> solvers.top_eigenpairs(bowl, np.array([0.0, 0.0]), k=2).values.round(6)
    array([3., 1.])
    """
    methods("objective", objective, ["hvp"], "top_eigenpairs")
    x = array("x", x)
    if x.size == 0:
        raise ValueError(f"x must be an array of at least one entry, got shape {x.shape}")
    tol = real("tol", tol, above=0, below=1)
    bound = -np.inf if above is None else real("above", above)
    certify = flag("certify", certify)
    if is_spread(objective):  # every rank keeps the same whole Lanczos vectors
        whole = None if start is None else objective.gather(start)
        found = top_eigenpairs(
            _Together(objective), objective.gather(x), k, tol, whole, above, certify
        )
        return replace(found, vectors=objective.own(found.vectors))
    k = count("k", k, 1, x.size)
    # Those above a bound may be a cluster, held there: one start for each, as to a loose tolerance.
    mixed = certify and above is None and k > 1 and tol < _LOOSE
    starts, guesses = _starts(x, k, start, certify, mixed)
    try:
        with one_blas_thread():  # the last digits of eigenvectors, and so of the run, then do not depend on the number of threads
            if x.size <= max(_DENSE_SIZE, 3 * len(starts)):
                pairs = _dense(objective, x, k)
            else:
                pairs = lanczos(
                    lambda v: _product(objective, x, v),
                    starts,
                    k,
                    tol,
                    _MAX_PRODUCTS,
                    bound,
                    certify,
                    guesses if mixed else None,
                )
    except FloatingPointError:  # e.g. in a run about to diverge
        return _no_pairs(x, k)
    kept = k if pairs.complete else pairs.found
    values = pairs.values[:kept]
    vectors = pairs.vectors[:kept].reshape(-1, *x.shape).astype(x.dtype)
    for v in vectors:
        v /= x.dtype.type(norm(objective, v))
    none = _no_pairs(x, k - kept)
    return Eigenpairs(
        np.append(values, none.values),
        np.append(vectors, none.vectors, axis=0),
        np.append(_residuals(objective, x, values, vectors, pairs), none.values),
        pairs.complete,
    )


def _no_pairs(x: Array, k: int) -> Eigenpairs:
    nan = np.full(k, np.nan)
    return Eigenpairs(nan, np.full((k, *x.shape), np.nan, x.dtype), nan, False)


def _residuals(
    objective: Any, x: Array, values: Array, vectors: Array, pairs: RitzPairs
) -> NDArray[np.float64]:
    """Residuals as estimated by the method, exact up to rounding; where they are not small, measured with one product each."""
    residuals = np.array(pairs.residuals[: len(values)])
    if x.dtype != np.float64:
        for i in range(pairs.found):
            difference = objective.hvp(x, vectors[i]) - x.dtype.type(values[i]) * vectors[i]
            residuals[i] = norm(objective, difference)
    return residuals


class _Together:
    """A distributed objective on whole arrays."""

    def __init__(self, objective: Any) -> None:
        self._objective = objective

    def hvp(self, x: Array, v: Array) -> Array:
        own = self._objective.own
        product: Array = self._objective.gather(self._objective.hvp(own(x), own(v)))
        return product

    def inner(self, u: Array, v: Array) -> float:
        own = self._objective.own
        return float(self._objective.inner(own(u), own(v)))


def _starts(
    x: Array, k: int, start: Array | None, certify: bool, mixed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At least k standard normal vectors and the far larger vectors of the start, normalised.

    These are added to the normal vectors, all to the first if they are to be `mixed`, or replace them.
    """
    given = np.empty((0, *x.shape)) if start is None else array("start", start)
    if given.shape[given.ndim - x.ndim :] != x.shape or given.ndim - x.ndim not in (0, 1):
        raise wrong_shape("start", f"(s, *{x.shape})", given.shape)
    warm = given.reshape(-1, x.size).astype(np.float64)
    rows = max(k, len(warm))
    starts = _normal(rows, x.size).copy()
    share = _RANDOM_SHARE if mixed or rows == 1 else _BLOCK_SHARE
    guesses = []
    for row, vector in zip(starts, warm, strict=False):
        size = float(np.linalg.norm(vector))
        if 0 < size < np.inf:
            scaled = np.sqrt(x.size) / (share * size) * vector
            if mixed:
                guesses.append(vector / size)
                starts[0] += scaled
            else:
                row[:] = row + scaled if certify else scaled
    return starts, np.array(guesses).reshape(-1, x.size)


@functools.lru_cache(maxsize=1)
def _normal(rows: int, size: int) -> NDArray[np.float64]:
    """The standard normal vectors of every call, which take as long to draw as a product of a small network."""
    return np.random.default_rng(0).standard_normal((rows, size))


def _product(objective: Any, x: Array, v: Array) -> NDArray[np.float64]:
    """Hv as a flat float64 vector of its own."""
    image = check_like("hvp", objective.hvp(x, v.reshape(x.shape).astype(x.dtype)), x)
    product: NDArray[np.float64] = image.ravel().astype(np.float64)
    return product


def _dense(objective: Any, x: Array, k: int) -> RitzPairs:
    columns = [_product(objective, x, e) for e in np.eye(x.size)]
    matrix = np.array(columns, dtype=np.float64)
    if not np.all(np.isfinite(matrix)):
        raise FloatingPointError("the Hessian is not finite")
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    if np.abs(matrix - matrix.T).max() > ASYMMETRY * np.abs(values).max():
        raise FloatingPointError(NOT_SYMMETRIC)
    top, rows = values[::-1][:k], vectors.T[::-1][:k]
    residuals = np.linalg.norm(rows @ matrix.T - top[:, None] * rows, axis=1)
    return RitzPairs(top, rows, residuals, k, True)
