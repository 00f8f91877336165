"""Bounds of the Wasserstein-2 distance between two densities on a regular grid, by the dual of transport along its axes.

From above: a plan that moves every line along the first axis to a density in between, constant in cells, then that along the
second axis, and so on. Each line is transported in closed form, and E|x − y|² is the sum over the axes. What remains between its
end and the second density is moved over no more than the diameter of the grid.

From below: for potentials φ of any sites y_j that surround the cells, and c_j = |y_j|² − φ_j,

    f(x) = min_j |x − y_j|² − φ_j,    g(y) = |y|² − Σ_j w_j(y) c_j,    y = Σ_j w_j(y) y_j,  w ≥ 0,  Σ_j w_j = 1,

have f(x) + g(y) ≤ |x − y|², as 2 x·y = Σ w_j 2 x·y_j and 2 x·y_j ≤ |x|² − f(x) + c_j. So W2² ≥ ∫ f dμ + ∫ g dν. The weights are
those of multilinear interpolation between sites, whose mean over a cell is in closed form, and ½(|x|² − f) is convex, so that its
mean over a cell is at most that of its values at the corners.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from solvers._kernels.grid_transport import squared_line_distances
from solvers.grid_transport.levels import doubled, doubled_centers, refined
from solvers.grid_transport.newton import ascend
from solvers.grid_transport.split import SplitTransport, conjugated
from solvers.measures.quantile_functions import Float64
from solvers.progress import UNREPORTED, Portion

#: Fewest cells along an axis of a grid that is made coarser.
_COARSEST = 16
#: Proximal terms of the masses, in units of ν over the squared diameter, one after the other, and Newton iterations of each.
_PROXIMAL, _ITERATIONS = (1e-3, 1e-5, 1e-7, 1e-9), 40
#: Mass out of place, times the squared diameter, relative to W2².
_OUT_OF_PLACE, _COARSE, _TOLERATED = 3e-5, 1e-3, 1e-3
#: Where W2² is at most so many squared diagonals of a cell, the bounds are further apart than so many squared sides anyway; aimed
#: at is less.
_FEW_CELLS, _OF_SIDE, _AIMED_AT = 4.0, 0.1, 0.02
#: Relative error on a coarser grid after which there is no hope for the grid itself.
_HOPELESS = 5e-3
#: Mass of the tails that are left out.
_TAILS = 1e-10
#: Parts of a cell in the lower bound, and the most points of its grid.
_PARTS, _MOST_POINTS = 4, 2**22


class Bounds(NamedTuple):
    """least ≤ W2² ≤ most, and the mass that Newton's method left out of place; converged: it hardly contributes to `most`."""

    least: float
    most: float
    out_of_place: float
    converged: bool


class _HopelessError(Exception):
    """Newton's method misses the maximum of the dual by far."""


def squared_distance(
    edges: tuple[Float64, ...],
    mu: Float64,
    nu: Float64,
    gives_up: bool = False,
    portion: Portion = UNREPORTED,
) -> Bounds:
    """Bounds of W2² between the densities of masses mu and nu on the cells of a regular grid of two or three axes.

    gives_up : raise an error where a coarser grid shows already that Newton's method will not do.
    portion : is called as the grids are done.
    """
    if np.array_equal(mu, nu):
        return Bounds(0.0, 0.0, 0.0, True)
    edges, centers = centered(edges)
    kept = without_tails(mu)
    given = centers, kept, without_tails(nu)
    phi, transport = _potential(*given, _OUT_OF_PLACE, gives_up, portion)
    stages = transport.stages()
    most = 0.0
    for axis, (before, after) in enumerate(pairwise(stages)):
        lines = [
            np.ascontiguousarray(np.moveaxis(part, axis, -1).reshape(-1, part.shape[axis]))
            for part in (before, after)
        ]
        most += float(squared_line_distances(edges[axis], *lines))
    misplaced = 0.5 * float(np.abs(stages[-1] - nu).sum() + np.abs(kept - mu).sum())
    return bounds(from_below(edges, centers, phi, mu, nu), most, misplaced, edges)


def squared_distance_if_promising(
    edges: tuple[Float64, ...], mu: Float64, nu: Float64, portion: Portion = UNREPORTED
) -> Bounds | None:
    """The same; None where a coarser grid shows already that Newton's method will not do."""
    try:
        return squared_distance(edges, mu, nu, gives_up=True, portion=portion)
    except _HopelessError:
        return None


def bounds(least: float, most: float, misplaced: float, edges: tuple[Float64, ...]) -> Bounds:
    """Those of W2² with the mass that a plan of cost `most` leaves out of place moved over the whole grid."""
    rest = misplaced * _squared_diameter(edges)
    tolerated = _tolerated(_TOLERATED, _OF_SIDE, most, edges)
    return Bounds(min(max(least, 0.0), most), most + rest, misplaced, rest <= tolerated)


def both(one: Bounds, other: Bounds) -> Bounds:
    """The bounds of two of the same distance."""
    nearer = min(one, other, key=lambda found: found.most)
    least = min(max(one.least, other.least), nearer.most)
    return nearer._replace(least=least, converged=one.converged or other.converged)


def _tolerated(
    relative: float, of_side: float, squared: float, points: tuple[Float64, ...]
) -> float:
    """What mass out of place may add to W2²: a share; of a few cells, on which no bounds agree, a part of a cell."""
    squares = [float(x[1] - x[0]) ** 2 for x in points]
    if squared > _FEW_CELLS * sum(squares):
        return relative * squared
    return max(relative * squared, of_side * sum(squares) / len(squares))


def centered(edges: tuple[Float64, ...]) -> tuple[tuple[Float64, ...], tuple[Float64, ...]]:
    """Edges around the origin, and the centers of the cells."""
    center = [0.5 * (axis[0] + axis[-1]) for axis in edges]
    edges = tuple(axis - middle for axis, middle in zip(edges, center, strict=True))
    return edges, tuple(0.5 * (axis[1:] + axis[:-1]) for axis in edges)


def without_tails(masses: Float64) -> Float64:
    """Masses without the least of a small sum, which would slow Newton's method."""
    order = np.sort(masses.ravel())
    least = order[np.searchsorted(np.cumsum(order), _TAILS)]
    kept = np.where(masses < least, 0.0, masses)
    return kept / kept.sum()


def bytes_needed(shape: tuple[int, ...]) -> int:
    """A bound of the working memory."""
    cells = int(np.prod(shape))
    return 8 * ((40 + 30 * len(shape)) * cells + 8 * _points_of_lower_bound(shape)[1]) + 2**20


def _points_of_lower_bound(shape: tuple[int, ...]) -> tuple[int, int]:
    """Parts of a cell along each axis, and the points of the grid of the lower bound."""
    for parts in range(_PARTS, 1, -1):
        points = int(np.prod([parts * n + 2.0 for n in shape]))
        if points <= _MOST_POINTS:
            return parts, points
    return 1, int(np.prod([n + 2.0 for n in shape]))


class _Fixed:
    """The conjugate of Σ (ρ − ν)²/(2κ) − φ₀ ρ, κ = weight · ν: a proximal term around φ₀ for given masses ν."""

    def __init__(self, nu: Float64, phi: Float64, weight: float, step: float) -> None:
        self._step = step
        self._nu, self._takes, self._kappa = nu, nu > 0, weight * nu
        self._center = np.where(self._takes, phi, 0.0)

    def masses(self, phi: Float64) -> Float64:
        return self._nu - self._kappa * self._from_center(phi)

    def value(self, phi: Float64, masses: Float64) -> float:
        finite, change = np.where(self._takes, phi, 0.0), self._from_center(phi)
        return float(np.sum(0.5 * self._kappa * change**2 - finite * self._nu))

    def curvature(self, phi: Float64, masses: Float64, target: Float64) -> Float64:
        """Where too little mass arrives, not more than about the step: its slope is not that of a site that takes much."""
        lacking = np.maximum(self._nu - 2.0 * target, 0.0)
        return self._kappa + lacking / self._step

    def ceiling(self) -> float:
        """None: the masses are not bounded from below."""
        return np.inf

    def gap(self, phi: Float64, masses: Float64) -> float:
        """In place of the gap, the mass that is out of place."""
        return 0.5 * float(np.abs(masses - self.masses(phi)).sum())

    def _from_center(self, phi: Float64) -> Float64:
        return np.where(self._takes, np.where(self._takes, phi, 0.0) - self._center, 0.0)


def _potential(
    centers: tuple[Float64, ...],
    mu: Float64,
    nu: Float64,
    tolerance: float,
    gives_up: bool,
    portion: Portion,
) -> tuple[Float64, SplitTransport]:
    """The maximiser φ of ∫ φ^c dμ + Σ φ ν, found on coarser grids first, and the transport by it; φ = −∞ where ν = 0."""
    starts = [_of_normal_laws(centers, mu, nu)]
    if min(mu.shape) >= _COARSEST:
        wide, masses = doubled_centers(centers), doubled(mu)
        before, portion = portion.split(0.5**mu.ndim)  # of so many cells
        coarse, _ = _potential(wide, masses, doubled(nu), _COARSE, gives_up, before)
        starts.append(refined(_everywhere(wide, coarse, masses), mu.shape))
    transport = SplitTransport(centers, mu, 0.5)

    def dual(phi: Float64) -> float:
        return transport.transform(phi) + float(np.vdot(nu, np.where(nu > 0, phi, 0.0)))

    phi = max((np.where(nu > 0, start, -np.inf) for start in starts), key=dual)

    def tolerated(squared: float, of_side: float) -> float:
        is_finest = tolerance == _OUT_OF_PLACE
        return _tolerated(tolerance, of_side if is_finest else 0.0, squared, centers)

    size, step = _squared_diameter(centers), sum(float(x[1] - x[0]) ** 2 for x in centers)
    for term, weight in enumerate(_PROXIMAL, 1):
        weight /= size

        def allowed(value: float) -> float:
            return 0.5 * tolerated(abs(value), _AIMED_AT) / size

        proximal = _Fixed(nu, phi, weight, step)
        phi = ascend(transport, proximal, phi, allowed, _ITERATIONS).phi
        portion(term / len(_PROXIMAL))
        value = dual(phi)
        missed = 0.5 * float(np.abs(transport.push() - nu).sum()) * size
        if missed <= tolerated(abs(value), _OF_SIDE):
            break
    if gives_up and tolerance == _COARSE and missed > _HOPELESS * abs(value):
        raise _HopelessError
    portion(1.0)
    return phi, transport


def _of_normal_laws(centers: tuple[Float64, ...], mu: Float64, nu: Float64) -> Float64:
    """φ for normal laws of the same means and variances along the axes: exact for shifts and changes of scale."""
    phi = np.zeros_like(mu)
    for axis, x in enumerate(centers):
        rest = tuple(k for k in range(mu.ndim) if k != axis)
        (m, s), (n, t) = (_mean_and_spread(x, masses.sum(axis=rest)) for masses in (mu, nu))
        part = x**2 - 2.0 * m * x - (s / t if t > 0 else 0.0) * (x - n) ** 2  # φ' = 2 (y − T⁻¹y)
        phi = phi + part.reshape([-1 if k == axis else 1 for k in range(mu.ndim)])
    return phi


def from_below(
    edges: tuple[Float64, ...],
    centers: tuple[Float64, ...],
    phi: Float64,
    mu: Float64,
    nu: Float64,
) -> float:
    """The bound of W2² by potentials φ at the centers; −∞ where there is no mass."""
    parts, _ = _points_of_lower_bound(mu.shape)
    offsets = (np.arange(parts) + 0.5) / parts
    sites, corners = [], []
    for line in edges:
        h = (line[-1] - line[0]) / (len(line) - 1)
        inner = (line[0] + h * (np.arange(len(line) - 1)[:, None] + offsets)).ravel()
        sites.append(np.concatenate([[inner[0] - h / parts], inner, [inner[-1] + h / parts]]))
        corners.append(np.linspace(line[0], line[-1], parts * (len(line) - 1) + 1))
    c = _sum_of_squares(centers) - _everywhere(centers, phi, mu)
    for axis, (old, new) in enumerate(zip(centers, sites, strict=True)):
        c = _interpolated(c, old, new, axis)
    f = conjugated(tuple(sites), _sum_of_squares(sites) - c, 0.5, tuple(corners))
    convex = 0.5 * (_sum_of_squares(corners) - f)
    # Means over parts of cells: of corners, and of the linear interpolation between the centers of parts.
    for axis in range(c.ndim):
        a = np.moveaxis(convex, axis, 0)
        convex = np.moveaxis(0.5 * (a[1:] + a[:-1]), 0, axis)
        a = np.moveaxis(c, axis, 0)
        c = np.moveaxis(0.75 * a[1:-1] + 0.125 * (a[2:] + a[:-2]), 0, axis)
    share = parts**c.ndim
    inside = sum(float(np.sum(masses * _means_of_squares(edges))) for masses in (mu, nu))
    return (
        inside
        - float(np.sum(mu * (2.0 * _block_sums(convex, parts) / share)))
        - float(np.sum(nu * (_block_sums(c, parts) / share)))
    )


def _interpolated(values: Float64, old: Float64, new: Float64, axis: int) -> Float64:
    """By cubic splines along an axis; linear beyond its ends."""
    from scipy.interpolate import CubicSpline

    if len(old) == 1:
        return np.repeat(values, len(new), axis=axis)
    spline = CubicSpline(old, values, axis=axis, bc_type="natural")
    inside = np.clip(new, old[0], old[-1])
    beyond = (new - inside).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    found: Float64 = spline(inside) + beyond * spline(inside, 1)
    return found


def _mean_and_spread(x: Float64, masses: Float64) -> tuple[float, float]:
    mean = float(masses @ x / masses.sum())
    return mean, float(np.sqrt(masses @ (x - mean) ** 2 / masses.sum()))


def _everywhere(centers: tuple[Float64, ...], phi: Float64, mu: Float64) -> Float64:
    """φ, and where it is −∞ the largest values with the same φ^c at the corners of cells where there is mass."""
    if np.isfinite(phi).all():
        return phi
    corners, holds = [], mu > 0
    for axis, x in enumerate(centers):
        h = x[1] - x[0] if len(x) > 1 else 0.0
        corners.append(np.append(x - 0.5 * h, x[-1] + 0.5 * h))
        none = np.zeros_like(holds.take([0], axis))
        holds = np.concatenate([holds, none], axis) | np.concatenate([none, holds], axis)
    at = tuple(corners)
    f = np.where(holds, conjugated(centers, phi, 0.5, at), -np.inf)
    return np.where(np.isfinite(phi), phi, conjugated(at, f, 0.5, centers))


def _sum_of_squares(points: tuple[Float64, ...] | list[Float64]) -> Float64:
    return np.asarray(sum(np.square(x) for x in np.ix_(*points)))


def _means_of_squares(edges: tuple[Float64, ...]) -> Float64:
    """Means of |x|² over cells."""
    means = [(a[1:] ** 2 + a[1:] * a[:-1] + a[:-1] ** 2) / 3.0 for a in edges]
    return np.asarray(sum(np.ix_(*means)))


def _block_sums(values: Float64, parts: int) -> Float64:
    for axis in range(values.ndim):
        shape = values.shape
        split = (*shape[:axis], shape[axis] // parts, parts, *shape[axis + 1 :])
        values = values.reshape(split).sum(axis=axis + 1)
    return values


def _squared_diameter(points: tuple[Float64, ...]) -> float:
    return sum(float(x[-1] - x[0]) ** 2 for x in points)
