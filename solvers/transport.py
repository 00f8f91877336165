"""Optimal transport between particle measures. The only module that imports POT."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

for _backend in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY"):
    # POT imports every framework it finds, at up to a second each; only its NumPy backend is used here.
    os.environ.setdefault(f"POT_BACKEND_DISABLE_{_backend}", "1")
import ot  # noqa: E402
from scipy.spatial.distance import cdist  # noqa: E402

from solvers.line import squared_distance  # noqa: E402
from solvers.measures import (  # noqa: E402
    Grid,
    Measure,
    Particles,
    check_positions,
    check_weights,
)

METHODS = ("exact",)


class TransportError(RuntimeError):
    """An optimal transport solver stopped before it had the optimum."""


@dataclass(frozen=True)
class TransportResult:
    """distance : W2. plan (n, m) : its marginals are the weights; None where quantiles gave the distance.

    error : largest violation of a marginal. discretization_error : how far the distance may be from that of the measures given,
    where cells of a grid were taken for points at their centers.
    """

    distance: float
    plan: NDArray[np.float64] | None = field(repr=False)
    converged: bool
    method: str
    error: float
    discretization_error: float = 0.0


def w2(
    x: ArrayLike | Measure,
    y: ArrayLike | Measure,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    method: str = "exact",
    max_iterations: int = 10**9,
    require_convergence: bool = True,
) -> TransportResult:
    """Wasserstein-2 distance between Σ_i a_i δ_{x_i} and Σ_j b_j δ_{y_j}, or between any two measures of one dimension.

        W2² = min { Σ_ij P_ij |x_i − y_j|² :  P ≥ 0,  P 1 = a,  Pᵀ 1 = b }

    Parameters
    ----------
    x, y : (n, D), (m, D), or (n,), (m,) on the line; or `Particles`, `Grid`, `Quantiles`
        Measures on the line, in whatever form, are compared by their quantile functions: in closed form, with no plan. In the
        plane the mass of a cell is taken to its center, which moves a grid by δ = √E[|h|²/12] in W2, h being the sides of the
        cell: the result's ``discretization_error`` is the sum of δ over the grids.
    a, b : (n,), (m,), optional
        Non-negative weights of sum one; uniform by default. Measures have their own.
    method : {"exact"}
        The network simplex of POT. Memory 16 n m bytes; time grows like n² to n³ (4 s at n = m = 5,000 in 3-D on two cores).
    max_iterations : int
        Of the network simplex.
    require_convergence : bool
        False: return what was reached, marked ``converged=False``, in place of raising.

    Raises
    ------
    ValueError
        For empty or non-finite positions, dimensions that differ, weights that are no probabilities or given beside a measure,
        an unknown method.
    TransportError
        When the solver reached max_iterations; the plan it had does not even carry the whole mass.

    References
    ----------
    Bonneel et al. 2011 (the network simplex); Flamary et al. 2021 (POT).
    """
    if method not in METHODS:
        raise ValueError(f"method: {method!r} came, one of {METHODS} is allowed")
    if isinstance(x, Measure) or isinstance(y, Measure):
        pair = _measure("x", x, a), _measure("y", y, b)
        return _between_measures(*pair, method, max_iterations, require_convergence)
    x, y = check_positions("x", x), check_positions("y", y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"y: dimension {y.shape[1]} came, {x.shape[1]} is needed, as of x")
    a, b = check_weights("a", a, (len(x),)), check_weights("b", b, (len(y),))
    cost = cdist(x, y, "sqeuclidean")
    plan, log = _network_simplex(a, b, cost, max_iterations)
    converged = log["warning"] is None
    if require_convergence and not converged:
        raise TransportError(
            f"exact transport of {len(x)} to {len(y)} points stopped before the optimum "
            f"({log['warning']}); give a larger max_iterations than {max_iterations}"
        )
    error = max(np.abs(plan.sum(axis=1) - a).max(), np.abs(plan.sum(axis=0) - b).max())
    squared = float(np.sum(plan * cost))
    return TransportResult(float(np.sqrt(max(squared, 0.0))), plan, converged, method, float(error))


def coupled_distance(x: ArrayLike, y: ArrayLike) -> float:
    """√((1/N) Σ_i |x_i − y_i|²) of labelled particles (N, D): the cost of one coupling, so an upper bound of W2.

    Raises
    ------
    ValueError
        For empty or non-finite positions or shapes that differ.
    """
    x, y = check_positions("x", x), check_positions("y", y)
    if x.shape != y.shape:
        raise ValueError(f"y: shape {y.shape} came, {x.shape} is needed, as of x")
    return float(np.sqrt(np.sum((x - y) ** 2) / len(x)))


def _network_simplex(
    a: NDArray[np.float64], b: NDArray[np.float64], cost: NDArray[np.float64], max_iterations: int
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the same text comes in the log, where it is not overlooked
        plan, log = ot.emd(a, b, cost, numItermax=max_iterations, log=True)
    return plan, log


def _measure(name: str, value: ArrayLike | Measure, weights: ArrayLike | None) -> Measure:
    if not isinstance(value, Measure):
        return Particles(value, weights)
    if weights is not None:
        raise ValueError(f"{name}: weights came beside a {type(value).__name__}, which has its own")
    return value


def _between_measures(
    x: Measure, y: Measure, method: str, max_iterations: int, require_convergence: bool
) -> TransportResult:
    if x.dimension != y.dimension:
        raise ValueError(f"y: dimension {y.dimension} came, {x.dimension} is needed, as of x")
    if x.dimension == 1:
        distance = float(np.sqrt(max(squared_distance(x.pieces(), y.pieces()), 0.0)))
        return TransportResult(distance, None, True, method, 0.0)
    (points, a, moved), (others, b, moved_too) = _as_points(x), _as_points(y)
    result = w2(points, others, a, b, method, max_iterations, require_convergence)
    return replace(result, discretization_error=moved + moved_too)


def _as_points(measure: Measure) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Positions and weights, without those of no mass, and the W2 by which they differ from the measure."""
    if isinstance(measure, Particles):
        positions, weights, moved = measure.positions, measure.weights, 0.0
    else:
        assert isinstance(measure, Grid)  # quantiles are on the line
        positions, weights = measure.points, measure.masses.ravel()
        moved = float(np.sqrt(measure.cell_variances().sum()))
    occupied = weights > 0
    return positions[occupied], weights[occupied], moved
