"""Distances of measures that are not all particles: on the line, on grids, and grids as points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import probabilities, refusal
from solvers.measures.quantile_functions import Float64, squared_distance
from solvers.measures.representations import Grid, Measure, Particles, Quantiles, check_positions
from solvers.progress import TICKS, Ticks, progress_bar
from solvers.transport.result import TransportError, TransportResult

if TYPE_CHECKING:
    from solvers.grid_transport.distance import Bounds

# Edges that differ by less, relative to the width of the cells, are equal.
_SAME_EDGES = 1e-9
# Share of Newton's method in the work, where the simplex may follow.
_OF_NEWTON = 0.5


def as_measure(
    name: str, value: ArrayLike | Measure, weights_name: str, weights: ArrayLike | None
) -> Measure:
    """A measure as it is, positions as particles."""
    if not isinstance(value, Measure):
        x = check_positions(name, value)
        return Particles(x, probabilities(weights_name, weights, (len(x),)))
    if weights is not None:
        its_own = f"None where {name} is a {type(value).__name__}, which has its own"
        raise refusal(weights_name, its_own, weights)
    return value


def wrong_dimension(of_x: int, of_y: int) -> ValueError:
    """The error for measures of two spaces."""
    return ValueError(f"y must have dimension {of_x}, as x, got {of_y}")


def between_measures(
    x: Measure, y: Measure, options: Any, w2: Callable[..., TransportResult]
) -> TransportResult:
    """The distance by quantile functions, by transport along the axes of a grid, or by `w2` of points."""
    if x.dimension != y.dimension:
        raise wrong_dimension(x.dimension, y.dimension)
    method = options.method
    if x.dimension == 1 and method != "sinkhorn":
        squared = max(squared_distance(x.pieces(), y.pieces()), 0.0)
        return TransportResult(float(np.sqrt(squared)), None, True, method, 0.0)
    if method == "exact" and _on_one_grid(x, y):
        return _on_grid(x, y, options)
    (points, a, moved), (others, b, moved_too) = _as_points(x), _as_points(y)
    result = w2(points, others, a, b, **options._asdict())
    # on average, a direction of the plane contributes half of a cell's |h|²/12
    share = {"exact": 1.0, "sliced": np.sqrt(0.5), "sinkhorn": np.nan}[method]
    moved += moved_too
    return replace(result, discretization_error=float(share * moved) if moved else 0.0)


def _on_one_grid(x: Measure, y: Measure) -> bool:
    """Whether both are densities on the same grid of equal cells, two or more along each axis."""
    if not (isinstance(x, Grid) and isinstance(y, Grid) and x.is_regular):
        return False
    return all(
        len(a) == len(b) > 2 and bool(np.all(np.abs(a - b) <= _SAME_EDGES * (a[1] - a[0])))
        for a, b in zip(x.edges, y.edges, strict=True)
    )


def _on_grid(x: Any, y: Any, options: Any) -> TransportResult:
    from solvers.grid_transport import distance

    needed = distance.bytes_needed(x.masses.shape)
    cells = " × ".join(map(str, x.masses.shape))
    if needed > options.max_bytes:
        raise ValueError(
            f"max_bytes must be at least {needed / 1e9:.3g} GB for exact transport on {cells} cells, got "
            f"{options.max_bytes / 1e9:.3g} GB; fewer cells need less"
        )
    with progress_bar(options.progress, TICKS) as report:
        ticks = Ticks(report)
        found, remedy = _bounds_on_grid(x, y, options, ticks)
        ticks.reach(1.0)
    least, most = np.sqrt([found.least, found.most]).tolist()
    if options.require_convergence and not found.converged:
        raise TransportError(
            f"exact transport on {cells} cells is not optimal; the distance is between {least:.6g} and {most:.6g}",
            f"{remedy}; require_convergence=False returns the bounds",
        )
    return TransportResult(
        most, None, found.converged, "exact", found.out_of_place, gap=most - least
    )


def _bounds_on_grid(x: Any, y: Any, options: Any, ticks: Ticks) -> tuple[Bounds, str]:
    """By Newton's method, or where transport tears mass apart by the simplex; and what may help if they are not the optimum's."""
    from solvers.grid_transport import distance
    from solvers.transport import grid_simplex

    given = x.edges, x.masses, y.masses
    needed = grid_simplex.bytes_needed(x.masses.shape)
    if needed > options.max_bytes:
        alone = distance.squared_distance(*given, portion=ticks.rest)
        return alone, f"give a max_bytes of at least {needed}"
    found = distance.squared_distance_if_promising(*given, ticks.rest.split(_OF_NEWTON)[0])
    if found is not None and found.converged:
        return found, ""
    limit = 10**9 if options.max_iterations is None else options.max_iterations
    other = grid_simplex.squared_distance(*given, limit, ticks.rest)
    if other is None:
        return found or distance.squared_distance(
            *given
        ), f"give a larger max_iterations than {limit}"
    return other if found is None else distance.both(found, other), "fewer cells are easier"


def _as_points(measure: Measure) -> tuple[Float64, Float64, float]:
    """Positions and weights without those of zero mass, and their W2 distance to the measure."""
    if isinstance(measure, Quantiles):
        raise refusal("method", "'exact' for quantiles, a closed form", "sinkhorn")
    if isinstance(measure, Particles):
        positions, weights, moved = measure.positions, measure.weights, 0.0
    else:
        assert isinstance(measure, Grid)
        positions, weights = measure.points, measure.masses.ravel()
        moved = float(np.sqrt(measure.cell_variances().sum()))
    occupied = weights > 0
    return positions[occupied], weights[occupied], moved
