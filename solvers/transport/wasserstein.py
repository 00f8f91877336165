"""The Wasserstein-2 distance of measures and its cost: exact, sliced, or by entropic transport."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import (
    choice,
    count,
    flag,
    probabilities,
    real,
    refusal,
)
from solvers.measures.quantile_functions import Float64
from solvers.measures.representations import Measure, Particles, check_positions
from solvers.progress import Progress
from solvers.transport import cost as transport_cost
from solvers.transport import exact as exact_transport
from solvers.transport import sampling, sinkhorn
from solvers.transport.cost import Cost
from solvers.transport.exact import EPS
from solvers.transport.measures import as_measure, between_measures, wrong_dimension
from solvers.transport.positions import near_the_origin, root_mean_square
from solvers.transport.result import TransportError, TransportResult
from solvers.transport.simplex import lazy_simplex, network_simplex
from solvers.transport.sliced import sliced_w2_squared

__all__ = ["MAX_BYTES", "METHODS", "TransportError", "TransportResult", "estimate", "w2"]

METHODS = ("exact", "sliced", "sinkhorn")
MAX_BYTES = 2**30  # exact transport of 5,000 to 5,000 points
TYPICAL_ITERATIONS = 60  # of Sinkhorn's, at the default ε in 3-D; in higher dimensions fewer


class _Options(NamedTuple):
    method: str
    max_iterations: int | None
    require_convergence: bool
    lazy: bool
    projections: int
    seed: int
    regularization: float | None
    tolerance: float
    max_bytes: int
    error: str | None
    progress: bool | Progress


def w2(
    x: ArrayLike | Measure,
    y: ArrayLike | Measure,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    method: str = "exact",
    max_iterations: int | None = None,
    require_convergence: bool = True,
    *,
    lazy: bool = False,
    projections: int = 512,
    seed: int = 0,
    regularization: float | None = None,
    tolerance: float = 1e-5,
    max_bytes: int = MAX_BYTES,
    error: str | None = None,
    progress: bool | Progress = False,
) -> TransportResult:
    """Wasserstein-2 distance between Σ_i a_i δ_{x_i} and Σ_j b_j δ_{y_j}, or between any two measures of one dimension.

        exact       W2²  = min { Σ_ij P_ij |x_i − y_j|² :  P ≥ 0,  P 1 = a,  Pᵀ 1 = b }
        sliced      SW2² = E[W2²(θ·x, θ·y)],  θ uniform on the sphere
        sinkhorn    S_ε  = OT_ε(x, y) − ½ OT_ε(x, x) − ½ OT_ε(y, y),  OT_ε = min_P Σ_ij P_ij |x_i − y_j|² + ε KL(P | a bᵀ)

    The last two are different quantities, not estimates of W2: SW2 ≤ W2/√D, and S_ε goes from W2² (ε → 0) to the squared
    distance of the means (ε → ∞).

    Parameters
    ----------
    x, y : (n, D), (m, D), or (n,), (m,) on the line; or `Particles`, `Grid`, `Quantiles`
        Measures on the line, in any form, are compared by their quantile functions: in closed form, without a plan (not by
        "sinkhorn"). Two densities on the same grid of equal cells, in two or three dimensions, are transported axis by axis, in
        memory O(n) and without a plan ("exact"; 256² cells take 15 to 40 s of one core): the ``gap`` of a plan and dual
        potentials is of order h², so that it is a part of W2 where the densities differ from cell to cell only, as speckle. Where
        the transport tears mass apart, as one heap into two, the network simplex takes over, on few pairs of cells from coarse
        grids to fine ones, with the same certificate (one heap into two: 7 to 9 s of one core for 64² and for 128² cells, two to
        three minutes for 256² in 0.2 GB; 2026-11-27, Intel Xeon). What is not proved is an error, or without require_convergence
        the bounds ``distance`` − ``gap`` and ``distance``. Ctrl-C ends the simplex at once. Otherwise
        the mass of a cell is moved to its center, which moves a grid by δ = √E[|h|²/12] in W2, h being the sides of the cell:
        the result's ``discretization_error`` is the sum of δ over the grids (over √2 for "sliced").
    a, b : (n,), (m,), optional
        Non-negative weights of sum one; uniform by default. Measures have their own.
    method : {"exact", "sliced", "sinkhorn"}
        The network simplex of POT; sorting along random directions; Sinkhorn's iterations in blocks, with logarithms.
        `estimate` gives their cost: "exact" 42 n m bytes (10 to 25 s at 5,000 points), "sliced" and "sinkhorn" O(n + m)
        (3 s at 100,000 points; 15 to 80 s at 5,000, and like n m).
    max_iterations : int, optional
        Limit of the network simplex, by default none; of Sinkhorn's iterations, by default 1,000.
    require_convergence : bool
        False: return the last iterate, marked ``converged=False``, instead of raising.
    lazy : bool
        "exact" in memory O(n + m), the plan sparse: costs are computed when used, in 1.5 (D = 3) to 18 (D = 66)
        times the time.
    projections, seed : int
        For "sliced": at least this many directions, 2 or more, in orthogonal groups (`sliced.directions`). The result
        depends on the seed, not on the number of threads.
    regularization : float, optional
        ε for "sinkhorn", in units of the cost; by default 0.05 (tr Cov(x) + tr Cov(y)). The iterations grow faster than 1/ε.
    tolerance : float
        For "sinkhorn": tolerated violation of a marginal, as a mass.
    max_bytes : int
        Allowed working memory; a computation that needs more raises before it starts.
    error : {"bootstrap"}, optional
        The points are samples, of equal weights and at least 8, and the distance wanted is that of their laws ("exact" and
        "sliced"): the result has an ``interval`` of 95%, by subsamples with the same indices in both where there are equally
        many points, the sampling floor subtracted, and no plan. In many dimensions, where the floor differs from law to law,
        the estimate may be low, but the interval allows for it. At most 2,000 points at a time: 20,000 in 10 dimensions
        take 8 s.
    progress : bool or callable
        Of two densities on the same grid, whose transport may take minutes. True: a bar with remaining time, on stderr in a
        terminal; a callable receives (done, total), after each of the coarser grids and of the iterates on the grid itself.

    Raises
    ------
    ValueError
        For empty or non-finite positions, different dimensions, weights that are not probabilities or given beside a measure,
        an unknown method or an invalid option, and where more than max_bytes are needed.
    TransportError
        When the solver reaches max_iterations; the plan of the network simplex then does not even transport the whole mass.
        Also where the potentials of the plan do not prove W2² to a relative 1e-10, or to 1e-4 because of masses below 2⁻⁵² that
        would have to be moved far; W2 of distant points with ``lazy=True`` needs as much memory as without.

    References
    ----------
    Bonneel et al. 2011 (the network simplex); Schmitzer 2016 (arXiv:1510.05466, on few pairs); Flamary et al. 2021 (POT);
    Rabin et al. 2011 (sliced transport); Rowland et al. 2019 (arXiv:1903.03784, orthogonal directions); Feydy et al. 2019
    (arXiv:1810.08278, S_ε).

    Examples
    --------
    Two points move by two, in the plane one by three and one by four:

    >>> solvers.transport.w2([0.0, 1.0], [2.0, 3.0]).distance
    2.0
    >>> result = solvers.transport.w2([[0.0, 0.0], [9.0, 0.0]], [[3.0, 0.0], [9.0, 4.0]])
    >>> round(result.distance**2, 9)
    12.5
    """
    options = _checked(
        method,
        max_iterations,
        require_convergence,
        lazy,
        projections,
        seed,
        regularization,
        tolerance,
        max_bytes,
        error,
        progress,
    )
    if options.error is not None:
        return _of_laws(as_measure("x", x, "a", a), as_measure("y", y, "b", b), options)
    if isinstance(x, Measure) or isinstance(y, Measure):
        return between_measures(as_measure("x", x, "a", a), as_measure("y", y, "b", b), options, w2)
    x, y = check_positions("x", x), check_positions("y", y)
    if x.shape[1] != y.shape[1]:
        raise wrong_dimension(x.shape[1], y.shape[1])
    a, b = probabilities("a", a, (len(x),)), probabilities("b", b, (len(y),))
    _check_memory(len(x), len(y), x.shape[1], options)
    return {"exact": _exact, "sliced": _sliced, "sinkhorn": _sinkhorn}[options.method](
        x, y, a, b, options
    )


_DEFAULTS = (*(w2.__defaults__ or ())[2:], *(w2.__kwdefaults__ or {}).values())  # of `_Options`


def estimate(
    n: int,
    m: int,
    dimension: int,
    method: str = "exact",
    *,
    lazy: bool = False,
    projections: int = 512,
    iterations: int = TYPICAL_ITERATIONS,
) -> Cost:
    """Memory and time that `w2` needs for n and m points: a bound in bytes, and an estimate in seconds.

    `iterations` are those expected of "sinkhorn".

    Examples
    --------
    >>> cost = solvers.transport.estimate(5000, 5000, dimension=2)
    >>> print(f"{cost.bytes / 1e9:.1f} GB")
    1.1 GB
    """
    choice("method", method, METHODS)
    sizes = {"n": n, "m": m, "dimension": dimension, "projections": projections}
    n, m, dimension, projections = (count(name, size, 1, 2**53) for name, size in sizes.items())
    iterations, lazy = count("iterations", iterations, 1, 2**53), flag("lazy", lazy)
    if method == "exact":
        return transport_cost.exact(n, m, dimension, lazy)
    if method == "sliced":
        return transport_cost.sliced_transport(n, m, dimension, projections)
    return transport_cost.entropic(n, m, dimension, iterations)


# --- the three methods ---------------------------------------------------------------------------


def _exact(x: Float64, y: Float64, a: Float64, b: Float64, options: _Options) -> TransportResult:
    limit = 10**9 if options.max_iterations is None else options.max_iterations
    n, m, dimension = len(x), len(y), x.shape[1]
    found = exact_transport.solve(
        x,
        y,
        a,
        b,
        partial(network_simplex, limit),
        partial(lazy_simplex, limit) if options.lazy else None,
        may_be_dense=not options.lazy or estimate(n, m, dimension).bytes <= options.max_bytes,
    )
    if options.require_convergence and found.warning is not None:
        raise TransportError(
            f"exact transport of {n} to {m} points stopped before the optimum ({found.warning})",
            f"give a larger max_iterations than {limit}",
        )
    if options.require_convergence and not found.proved:
        raise _not_proved(found, options, estimate(n, m, dimension))
    plan = _plan(found, (n, m), options.lazy)
    sums = np.bincount(found.rows, found.masses, n), np.bincount(found.columns, found.masses, m)
    error = max(np.max(np.abs(sums[0] - a)), np.max(np.abs(sums[1] - b)))
    return TransportResult(
        found.distance,
        plan,
        found.proved and found.warning is None,
        "exact",
        float(error),
        gap=found.gap,
    )


def _plan(found: exact_transport.ExactPlan, shape: tuple[int, int], sparse: bool) -> Any:
    if sparse:
        from scipy.sparse import coo_array

        return coo_array((found.masses, (found.rows, found.columns)), shape=shape)
    plan = found.memory
    if plan is None or plan.shape != shape:
        plan = np.zeros(shape)
    else:
        plan.fill(0.0)
    plan[found.rows, found.columns] = found.masses
    return plan


def _not_proved(found: exact_transport.ExactPlan, options: _Options, dense: Cost) -> TransportError:
    text = f"the distance found, {found.distance:.6g}, may be wrong by {found.gap:.2g}, for the rounding of "
    remedy = "leave the farthest points out"
    if found.certificate.is_optimal:
        return TransportError(f"{text}weights and of squares", remedy)
    if options.lazy and dense.bytes > options.max_bytes:
        remedy = f"lazy=False with max_bytes of at least {dense.bytes} resolves the others"
    return TransportError(f"{text}the largest costs", remedy)


def _sliced(x: Float64, y: Float64, a: Float64, b: Float64, options: _Options) -> TransportResult:
    x, y, exponent = near_the_origin(x, y)
    squared, error = sliced_w2_squared(x, y, a, b, options.projections, options.seed)
    distance = float(np.sqrt(squared))
    error = 0.5 * error / distance if distance > 0 else 0.0
    error += 4.0 * EPS * (root_mean_square(x) + root_mean_square(y))  # of the projections
    distance, error = np.ldexp([distance, error], exponent).tolist()
    return TransportResult(distance, None, True, "sliced", error)


def _sinkhorn(x: Float64, y: Float64, a: Float64, b: Float64, options: _Options) -> TransportResult:
    x, y, exponent = near_the_origin(x[a > 0], y[b > 0])
    a, b = a[a > 0], b[b > 0]
    if options.regularization is None:
        eps = sinkhorn.default_regularization(x, y, a, b)
    else:
        eps = float(np.ldexp(options.regularization, -2 * exponent))
    with np.errstate(over="ignore"):
        given = float(np.ldexp(eps, 2 * exponent))
    if eps == 0:  # two points have a single plan
        distance = float(np.ldexp(np.linalg.norm(x[0] - y[0]), exponent))
        return TransportResult(distance, None, True, "sinkhorn", 0.0, regularization=given)
    limit = sinkhorn.MAX_ITERATIONS if options.max_iterations is None else options.max_iterations
    found = sinkhorn.sinkhorn_divergence(x, y, a, b, eps, options.tolerance, limit)
    if options.require_convergence and not found.converged:
        raise TransportError(
            f"Sinkhorn's iterations stopped at an error of the marginals of {found.residual:.2g}, above the tolerance "
            f"{options.tolerance:g}",
            f"give a larger max_iterations than {limit}, or a larger regularization than {given:.4g}",
        )
    ends = np.sqrt(np.maximum(found.value + found.error * np.array([-1.0, 0.0, 1.0]), 0.0))
    low, distance, high = np.ldexp(ends, exponent).tolist()
    return TransportResult(
        distance,
        None,
        found.converged,
        "sinkhorn",
        max(distance - low, high - distance),
        regularization=given,
        residual=found.residual,
    )


def _of_laws(x: Measure, y: Measure, options: _Options) -> TransportResult:
    for name, sample in (("x", x), ("y", y)):
        if not isinstance(sample, Particles):
            raise refusal("error", f"None for a {type(sample).__name__}", options.error)
        if np.ptp(sample.weights) > EPS:
            raise ValueError(f"the weights of {name} must be equal for error='bootstrap'")
        if len(sample.weights) < 2 * sampling.LEAST:
            raise ValueError(
                f"{name} must have at least {2 * sampling.LEAST} points for error='bootstrap', got {len(sample.weights)}"
            )
    if x.dimension != y.dimension:
        raise wrong_dimension(x.dimension, y.dimension)

    def distance(one: Float64, other: Float64, group: int) -> float:
        # Other directions in each group: the interval contains their error too.
        own = options._replace(error=None, seed=options.seed + group)
        return w2(one, other, **own._asdict()).distance

    found = sampling.distance_of_laws(x.positions, y.positions, options.seed, distance)  # type: ignore[union-attr]
    low, high = found.low, found.high
    return TransportResult(
        found.distance, None, True, options.method, 0.5 * (high - low), interval=(low, high)
    )


# --- what is allowed -----------------------------------------------------------------------------


def _checked(*given: Any) -> _Options:
    options = _Options(*given)
    if all(value is default for value, default in zip(given, _DEFAULTS, strict=True)):
        return options
    largest = {"max_iterations": 2**63 - 1, "projections": 2**53}
    integers = {"projections": 2, "seed": 0, "max_bytes": 1}
    if options.max_iterations is not None:
        integers["max_iterations"] = 1
    reals = ["tolerance"] + ["regularization"] * (options.regularization is not None)
    settled: dict[str, Any] = {"method": choice("method", options.method, METHODS)}
    for name, least in integers.items():
        settled[name] = count(name, getattr(options, name), least, largest.get(name))
    settled |= {name: real(name, getattr(options, name), above=0) for name in reals}
    if options.error is not None:
        choice("error", options.error, ("bootstrap",))
        choice("method", options.method, ("exact", "sliced"))
    if not callable(options.progress):
        flag("progress", options.progress)
    settled |= {
        name: flag(name, getattr(options, name)) for name in ("require_convergence", "lazy")
    }
    return options._replace(**settled)


def _check_memory(n: int, m: int, dimension: int, options: _Options) -> None:
    cost = estimate(
        n, m, dimension, options.method, lazy=options.lazy, projections=options.projections
    )
    if cost.bytes <= options.max_bytes:
        return
    dense = options.method == "exact" and not options.lazy
    others = "lazy=True, method='sliced' and 'sinkhorn', fewer points" if dense else "fewer points"
    raise ValueError(
        f"max_bytes must be at least {cost.bytes / 1e9:.3g} GB for {options.method} transport of {n:,} to {m:,} points, "
        f"which takes {cost}, got {options.max_bytes / 1e9:.3g} GB; {others} need less"
    )
