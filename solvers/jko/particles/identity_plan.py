"""Whether the identity is an optimal plan between particles before and after a step, decided without solving transport."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from solvers._kernels import weighted_nearest as kernels

Float64 = NDArray[np.float64]
Indices = NDArray[np.intp]

EPS = float(np.finfo(np.float64).eps)

# In the last test: initial pairs per particle, rounds in which violated pairs are added, and sweeps of the shortest paths per
# round, there and back.
_NEIGHBOURS, _ROUNDS, _SWEEPS = 16, 10, 500
# From so many particles on, in at most so many dimensions, a tree finds violated pairs in O(N log N), with up to so many in a
# leaf; else all N² pairs are looked at, by products of matrices: ten rounds take a fifth of the time of exact transport.
_MANY, _FEW_AXES, _LEAF = 1000, 6, 8
# Rounds by a tree, which are cheap: violations move on from neighbour to neighbour.
_ROUNDS_BY_TREE = 50
# Of the conjugate gradients for a potential to begin with.
_START_TOLERANCE, _START_ITERATIONS = 1e-7, 1000
_BLOCK = 2**20
# Squared distances from the center above this multiple of their median: for those, each difference is computed directly.
_FAR = 1e4


def identity_is_optimal(x: Float64, y: Float64) -> bool:
    """Whether Σ_i p_i |x_i − y_i|² is the minimal cost from y to x (N, D), for any weights p; False means undecided.

    Correct up to rounding of positions; in the last test, up to 1e-14 times the squares of the two particles of a pair. The
    tests:

    - On the line, if and only if x and y are in the same order.
    - If no old particle is nearer to x_i than y_i, for every i: the identity then takes the smallest entry of every row of
      the cost. (For instance if no particle moved by more than half the distance from y_i to the next old one.)
    - If there are v_i with v_j − v_i ≤ |x_i − y_j|² − |x_i − y_i|² for all i, j: any plan P of the same marginals then
      costs Σ P_ij |x_i − y_j|² ≥ Σ p_i |x_i − y_i|² + Σ P_ij (v_j − v_i), and the last sum is zero. (½(|y|² − v) is Brenier's
      convex potential at the particles.) Such v are distances of shortest paths; few pairs determine them.
    """
    if len(x) == 1:
        return True
    if x.shape[1] == 1:
        # Ties in y are broken by x: coinciding particles may be numbered in any way.
        order = np.lexsort((x[:, 0], y[:, 0]))
        return bool(np.all(np.diff(x[order, 0]) >= 0.0))
    return _is_nearest(x, y) or _has_potential(x, y)


def position_rounding(x: Float64, y: Float64) -> Float64:
    """Rounding error of the distances |x_i − y_i|, (N,)."""
    sizes = np.sqrt(np.sum(x**2, axis=1)) + np.sqrt(np.sum(y**2, axis=1))
    return 4.0 * EPS * sizes


def _is_nearest(x: Float64, y: Float64) -> bool:
    # Balls slightly too small to contain y_i itself and particles that coincide with it.
    radius = np.sqrt(np.sum((x - y) ** 2, axis=1)) - position_rounding(x, y)
    moved = radius > 0.0
    if not np.any(moved):
        return True
    nearer = cKDTree(y).query_ball_point(x[moved], radius[moved], return_length=True)
    return not np.any(nearer)


def _has_potential(x: Float64, y: Float64) -> bool:
    """Shortest paths over pairs of neighbours, adding violated pairs until none is violated."""
    own = np.sum((x - y) ** 2, axis=1)
    k = min(_NEIGHBOURS, len(x))
    sources = cKDTree(x).query(y, k)[1].reshape(len(x), k)
    order = np.argsort(y[:, 0], kind="stable")
    by_tree = len(x) >= _MANY and x.shape[1] <= _FEW_AXES
    shortest = _shortest_by_tree if by_tree else _shortest
    v = np.zeros(len(x))
    if by_tree:
        v = _fitted(x - y, y, sources)
        source, reached, rounding = shortest(x, y, own, v)
        if np.all(reached >= v - rounding):
            return True
        sources = np.column_stack([sources, source])
    for _ in range(_ROUNDS_BY_TREE if by_tree else _ROUNDS):
        lengths = np.sum((x[sources] - y[:, None]) ** 2, axis=2) - own[sources]
        for _ in range(_SWEEPS):
            change = kernels.shorten(v, sources, lengths, order)
            if change <= EPS * float(np.abs(v).max()):
                break
        else:
            return False  # a cycle of negative length: the identity is not optimal
        source, reached, rounding = shortest(x, y, own, v)
        if np.all(reached >= v - rounding):
            return True
        sources = np.column_stack([sources, source])
    return False


def _fitted(moved: Float64, y: Float64, sources: Indices) -> Float64:
    """v_j − v_i ≈ −(d_i + d_j)·(y_j − y_i) between neighbours, by least squares; d = x − y.

    That is amid what is allowed: from −(y_i − y_j)·(y_i − y_j + 2 d_j) to (y_j − y_i)·(y_j − y_i − 2 d_i).
    """
    n, k = sources.shape
    i, j = sources.ravel(), np.repeat(np.arange(n), k)
    apart = y[j] - y[i]
    squares = np.sum(apart**2, axis=1)
    i, j, apart, squares = (part[squares > 0] for part in (i, j, apart, squares))
    weights = 1.0 / squares
    flux = -weights * np.sum((moved[i] + moved[j]) * apart, axis=1)
    right = np.bincount(j, flux, n) - np.bincount(i, flux, n)
    diagonal = np.bincount(j, weights, n) + np.bincount(i, weights, n)
    diagonal[diagonal == 0] = 1.0
    links = csr_array((weights, (i, j)), shape=(n, n))
    inverse = diags_array(1.0 / diagonal)
    laplacian = csr_array(diags_array(diagonal) - links - links.T)
    v, _ = cg(laplacian, right, rtol=_START_TOLERANCE, maxiter=_START_ITERATIONS, M=inverse)
    return np.asarray(v - np.median(v))


def _shortest_by_tree(
    x: Float64, y: Float64, own: Float64, v: Float64
) -> tuple[Indices, Float64, Float64]:
    """As `_shortest`, looking at few pairs: v_i − |x_i − y_i|² changes with x_i about as −|x − y_i|², by the optimality of i."""
    weights, n = v - own, len(x)
    nodes = 2 ** (1 + math.ceil(math.log2(n / _LEAF))) - 1
    low, high, beta = np.empty((3, nodes, x.shape[1]))
    starts, ends = np.empty((2, nodes), np.int64)
    order, alpha, source, least = np.arange(n), np.empty(nodes), np.empty(n, np.intp), np.empty(n)
    tree = order, starts, ends, low, high, beta, alpha
    kernels.build(x, weights, 2.0 * (y - x), *tree)
    kernels.nearest(x, weights, y, *tree, source, least)
    rounding = 32.0 * EPS * (np.abs(least) + own[source] + np.abs(v[source]))
    return source, least, rounding


def _shortest(x: Float64, y: Float64, own: Float64, v: Float64) -> tuple[Indices, Float64, Float64]:
    """The minimum of v_i + |x_i − y_j|² − |x_i − y_i|² over i, for every j, its i, and a bound on its rounding error.

    By |x|² − 2 x·y + |y|², a matrix product, except for distant y_j, where its rounding error would be too large.
    """
    source, least, rounding = np.empty(len(x), np.intp), np.empty(len(x)), np.empty(len(x))
    center = np.median(y, axis=0)  # the mean would follow a single distant particle
    near_x, near_y = x - center, y - center
    squares = np.sum(near_y**2, axis=1)
    far = squares > _FAR * np.median(squares)
    size = max(1, _BLOCK // len(x))
    of_x = np.sum(near_x**2, axis=1)
    for chosen, is_far in ((np.flatnonzero(~far), False), (np.flatnonzero(far), True)):
        for rows in np.split(chosen, range(size, len(chosen), size)):
            if is_far:
                reached = cdist(y[rows], x, "sqeuclidean")
                reached += v - own
            else:
                reached = near_y[rows] @ (-2.0 * near_x.T)
                reached += v + of_x - own
            i = np.argmin(reached, axis=1)
            source[rows], least[rows] = i, reached[np.arange(len(rows)), i]
            sizes = np.abs(least[rows]) if is_far else squares[rows] + of_x[i]
            rounding[rows] = 32.0 * EPS * (sizes + own[i] + np.abs(v[i]))
            if not is_far:
                least[rows] += squares[rows]
    return source, least, rounding
