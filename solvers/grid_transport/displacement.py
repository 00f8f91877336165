"""Displacements on a regular grid: read off a potential, composed, and densities moved along them."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import map_coordinates

from solvers._kernels.grid_transport import limited_slopes
from solvers.measures.quantile_functions import Float64

#: Fixed-point iterations for the place a point comes from.
_ITERATIONS = 4


class Displacement:
    """How far what is at a point has come: along each axis at the edges between cells in that direction, 0 at the walls.

    Parameters
    ----------
    sides : per axis, of the cells
    along : per axis k, shaped like the grid but with n_k + 1 entries along it
    """

    def __init__(self, sides: tuple[float, ...], along: list[Float64]) -> None:
        self._sides, self._along = sides, along

    @classmethod
    def of_potential(cls, sides: tuple[float, ...], phi: Float64, pace: float) -> Displacement:
        """y − x = τ ∇φ(y), of the transport with the costs |x − y|²/2τ − φ(y): at an edge that of the cut between two sites."""
        along = []
        for axis, side in enumerate(sides):
            with np.errstate(invalid="ignore"):
                moved = pace * np.diff(phi, axis=axis) / side
            moved = np.where(np.isfinite(moved), moved, 0.0)  # at cells that take no mass
            along.append(np.pad(moved, [(int(k == axis),) * 2 for k in range(phi.ndim)]))
        return cls(sides, along)

    @property
    def flat(self) -> Float64:
        """All of it in one array, for `of_flat`."""
        return np.concatenate([self._sides, *(part.ravel() for part in self._along)])

    @classmethod
    def of_flat(cls, shape: tuple[int, ...], flat: Float64) -> Displacement:
        """From `flat`, on a grid of this shape."""
        axes = range(len(shape))
        shapes = [tuple(n + (k == axis) for k, n in enumerate(shape)) for axis in axes]
        ends = np.cumsum([len(shape), *map(math.prod, shapes)])
        head, *parts = np.split(flat, ends[:-1])
        pairs = zip(parts, shapes, strict=True)
        return cls(tuple(map(float, head)), [part.reshape(s) for part, s in pairs])

    @property
    def squares(self) -> Float64:
        """Per cell, the mean over its edges of the squared distance."""
        total = np.zeros([part.shape[k] - 1 for k, part in enumerate(self._along)])
        for axis, values in enumerate(self._along):
            squared = np.moveaxis(values**2, axis, 0)
            total += np.moveaxis(0.5 * (squared[1:] + squared[:-1]), 0, axis)
        return total

    def less(self, other: Displacement) -> Displacement:
        """The difference of the two."""
        pairs = zip(self._along, other._along, strict=True)
        return Displacement(self._sides, [a - b for a, b in pairs])

    def after(self, earlier: Displacement, share: float) -> Displacement:
        """d(y) = s(y) + share · d'(y − d(y)): this one, s, of what had gone a share of the earlier, d', beyond its end."""
        return Displacement(
            self._sides, [self._after(earlier, share, axis) for axis in range(len(self._along))]
        )

    def _after(self, earlier: Displacement, share: float, axis: int) -> Float64:
        """The component along an axis."""
        own = self._at_edges(axis)
        others = [share * part for part in earlier._at_edges(axis)]
        moved = [a + b for a, b in zip(own, others, strict=True)]
        for _ in range(_ITERATIONS):
            back = [-part for part in moved]
            carried = [_shifted(part, back, self._sides) for part in others]
            moved = [a + b for a, b in zip(own, carried, strict=True)]
        between_walls = np.moveaxis(moved[axis], axis, 0)
        between_walls[[0, -1]] = 0.0
        return moved[axis]

    def continued(self, masses: Float64, share: float) -> Float64:
        """Masses moved on, one axis after the other, by a share of the way that they have come."""
        fields = [share * part for part in self._along]
        for axis in range(masses.ndim):
            masses = _advected(masses, axis, fields[axis] / self._sides[axis])
            # what follows is at a place where it came to along this axis
            for later in range(axis + 1, masses.ndim):
                shift = [np.zeros_like(fields[later]) for _ in fields]
                shift[axis] = -self._between(fields[axis], axis, later)
                fields[later] = _shifted(fields[later], shift, self._sides)
        return masses

    def _at_edges(self, axis: int) -> list[Float64]:
        """All components at the edges along an axis."""
        return [
            part if k == axis else self._between(part, k, axis)
            for k, part in enumerate(self._along)
        ]

    @staticmethod
    def _between(part: Float64, own: int, axis: int) -> Float64:
        """A component at the edges of its own axis, at those of another: means over the four around."""
        a = np.moveaxis(part, own, 0)
        centers = np.moveaxis(0.5 * (a[1:] + a[:-1]), 0, own)
        padded = np.pad(centers, [(int(k == axis),) * 2 for k in range(part.ndim)], mode="edge")
        b = np.moveaxis(padded, axis, 0)
        return np.moveaxis(0.5 * (b[1:] + b[:-1]), 0, axis)


def _shifted(values: Float64, shift: list[Float64], sides: tuple[float, ...]) -> Float64:
    """Values at the points of their lattice shifted, linearly interpolated, beyond its ends the last."""
    lattice = np.meshgrid(*map(np.arange, values.shape), indexing="ij", sparse=True)
    places = [x + d / side for x, d, side in zip(lattice, shift, sides, strict=True)]
    found: Float64 = map_coordinates(values, np.broadcast_arrays(*places), order=1, mode="nearest")
    return found


def _advected(masses: Float64, axis: int, cells: Float64) -> Float64:
    """Masses moved along an axis by a number of cells, given at its edges; the density in a cell is linear."""
    lines = np.ascontiguousarray(np.moveaxis(masses, axis, -1))
    flat = lines.reshape(-1, lines.shape[-1])
    n = flat.shape[1]
    moved = np.moveaxis(cells, axis, -1).reshape(-1, n + 1)
    slopes = np.zeros_like(flat)
    limited_slopes(flat, slopes)
    edges = np.arange(n + 1.0)
    origin = edges - moved
    for _ in range(_ITERATIONS):
        origin = edges - _at(moved, origin)
    origin = np.clip(np.maximum.accumulate(origin, axis=1), 0.0, n)
    origin[:, 0], origin[:, -1] = 0.0, n
    below = np.zeros((len(flat), n + 1))
    np.cumsum(flat, axis=1, out=below[:, 1:])
    i = np.minimum(origin.astype(np.intp), n - 1)
    rows = np.arange(len(flat))[:, None]
    xi = 2.0 * (origin - i) - 1.0
    share = 0.5 * (xi + 1.0) + 0.25 * slopes[rows, i] * (xi * xi - 1.0)
    reached = below[rows, i] + share * flat[rows, i]
    result = np.maximum(np.diff(reached, axis=1), 0.0).reshape(lines.shape)
    return np.ascontiguousarray(np.moveaxis(result, -1, axis))


def _at(values: Float64, places: Float64) -> Float64:
    """Rows of values at places along them, linearly interpolated."""
    last = values.shape[1] - 1
    places = np.clip(places, 0.0, last)
    i = np.minimum(places.astype(np.intp), last - 1)
    rows = np.arange(len(values))[:, None]
    part = places - i
    found: Float64 = (1.0 - part) * values[rows, i] + part * values[rows, i + 1]
    return found
