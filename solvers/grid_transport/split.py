"""Transport at quadratic cost from the cells of a regular grid to its centers, one axis after the other."""

from __future__ import annotations

import math

import numpy as np

from solvers._kernels import grid_transport as kernels
from solvers.measures.quantile_functions import Float64


class AxisTransport:
    """The lines of cells along one axis: who goes where, by `solvers._kernels.grid_transport`.

    masses : those of the cells before they move along this axis, (lines, cells).
    """

    def __init__(self, centers: Float64, pace: float, axis: int, masses: Float64) -> None:
        self._y = np.ascontiguousarray(centers)
        self._h = float(centers[1] - centers[0]) if len(centers) > 1 else 1.0
        self._pace, self._axis = pace, axis
        shape = masses.shape
        self._moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        lines, n = math.prod(shape) // shape[axis], shape[axis]
        self._flat = (lines, n)
        self._cells, self._sites = np.empty((2, lines, 2 * n), np.int32)
        self._shares, self._links = np.empty((2, lines, 2 * n))
        self._counts = np.empty(lines, np.int64)
        self._slopes, self._couplings = np.zeros((2, *self._flat))
        self.set_masses(masses)
        self.set_slopes()

    def set_masses(self, masses: Float64) -> None:
        """The masses of the cells before they move along this axis."""
        self._masses = self._lines(masses)

    @property
    def masses(self) -> Float64:
        """The masses of the cells before they move along this axis."""
        return self._box(self._masses)

    def set_slopes(self) -> None:
        """Reconstruct the density within cells from the masses."""
        kernels.limited_slopes(self._masses, self._slopes)

    def transform(self, phi: Float64) -> Float64:
        """The mean over each cell of min_j (x − y_j)²/(2τ) − φ_j, less its value h²/(24τ) for a cell that stays."""
        psi, self._phi = np.empty(self._flat), self._lines(phi)
        kernels.cut_lines(
            self._y,
            self._h,
            self._pace,
            self._phi,
            self._slopes,
            self._cells,
            self._sites,
            self._shares,
            self._links,
            self._counts,
            psi,
        )
        return self._box(psi)

    def push(self, masses: Float64) -> Float64:
        """Masses moved to the sites of the last transform."""
        return self._along(kernels.push, masses)

    def pull(self, values: Float64) -> Float64:
        """Means over the cells of values at their sites; the adjoint of `push`."""
        return self._along(kernels.pull, values)

    def couple(self, reach: float) -> None:
        """Determine the couplings of neighbouring sites by the last transform and the masses."""
        kernels.couplings(
            self._y,
            self._h,
            self._pace,
            self._phi,
            self._cells,
            self._sites,
            self._shares,
            self._links,
            self._counts,
            self._masses,
            reach,
            self._couplings,
        )

    def stiffness(self, values: Float64) -> Float64:
        """The derivative of push(masses) when φ moves along values."""
        out = np.zeros(self._flat)
        kernels.add_stiffness(self._couplings, self._lines(values), out)
        return self._box(out)

    @property
    def couplings(self) -> Float64:
        """The couplings between neighbouring sites of which `stiffness` is the Laplacian."""
        return self._box(self._couplings)

    def slack(self, before: Float64) -> Float64:
        """By how much φ may rise at the sites so that −φ^c rises at most by `before` in the cells."""
        out = np.empty(self._flat)
        kernels.slacks(self._y, self._h, self._pace, self._phi, self._lines(before), out)
        return self._box(out)

    def cost_of_points(self) -> float:
        """Σ of mass times (y_i − y_j)², each share of a cell going from its center to that of its site."""
        found = kernels.squared_lengths(
            self._y, self._cells, self._sites, self._shares, self._counts, self._masses
        )
        return float(found)

    def _along(self, kernel: object, values: Float64) -> Float64:
        out = np.empty(self._flat)
        kernel(  # type: ignore[operator]
            self._cells, self._sites, self._shares, self._counts, self._lines(values), out
        )
        return self._box(out)

    def _lines(self, values: Float64) -> Float64:
        lines = np.moveaxis(values, self._axis, -1).reshape(self._flat)
        return np.require(lines, dtype=np.float64, requirements=["C", "W"])

    def _box(self, lines: Float64) -> Float64:
        return np.moveaxis(lines.reshape(self._moved), -1, self._axis)


def conjugated(
    centers: tuple[Float64, ...],
    psi: Float64,
    pace: float,
    at: tuple[Float64, ...] | None = None,
) -> Float64:
    """min_x |x − y|²/(2τ) − ψ(x) over the centers x, at the points y of a grid, by default the centers; ψ = −∞ at centers that
    do not take part.
    """
    for axis, (x, y) in enumerate(zip(centers, at or centers, strict=True)):
        lines = np.moveaxis(psi, axis, -1)
        flat = np.require(lines.reshape(-1, len(x)), dtype=np.float64, requirements=["C", "W"])
        out = np.empty((len(flat), len(y)))
        sites, points = np.ascontiguousarray(x), np.ascontiguousarray(y)
        kernels.envelope_lines(sites, pace, flat, points, out)
        psi = -np.moveaxis(out.reshape(*lines.shape[:-1], len(y)), -1, axis)
    return -psi


class SplitTransport:
    """D(μ, ρ) = min over plans of ∫ |x − y|² − d h²/12, from the density μ of a regular grid to masses ρ at its centers.

    As |x − y|² is a sum over axes, a plan moves mass along the first axis, which conserves what each line holds, then along the
    second, and so on: D is the minimum, over the masses in between, of a sum of transports along lines, and its dual

        D/(2τ) = max_φ Σ μ φ^c − …,     φ^c = A_1 A_2 … A_d φ,   A_k φ = cell means of min_y (x_k − y_k)²/(2τ) − φ

    is computed line by line, at a cost of O(n) each. Between two axes the density is again that of cells, linear in each.
    D ≥ 0, and D(μ, μ) = 0; it is W2² up to O(h²). A shift of a cut by δ costs δ² times the mass that it moves, so that
    transport by less than a cell costs no more and no less than it should.

    The relative slopes within cells are those of μ at first, and of the masses in between after `update_slopes`. With given
    slopes D is convex in ρ, and ∂/∂φ Σ μ φ^c = −push(φ).

    Parameters
    ----------
    centers : per axis, (n_k,), equally spaced
    masses : (n_1, …, n_d)
    pace : τ
    """

    def __init__(self, centers: tuple[Float64, ...], masses: Float64, pace: float) -> None:
        self._masses, self._occupied = masses, masses > 0
        self._axes = [
            AxisTransport(points, pace, axis, masses) for axis, points in enumerate(centers)
        ]

    def transform(self, phi: Float64) -> float:
        """Σ μ φ^c, and determine who goes where. φ = −∞ at centers that take no mass."""
        for axis in reversed(self._axes):
            phi = -axis.transform(phi)
        return -float(np.sum(self._masses[self._occupied] * phi[self._occupied]))

    def push(self) -> Float64:
        """The masses at the centers, by the last transform."""
        masses = self._masses
        for axis in self._axes:
            axis.set_masses(masses)
            masses = axis.push(masses)
        return np.ascontiguousarray(masses)

    def stages(self) -> list[Float64]:
        """The masses before the first axis, between the axes, and after the last one; to be called after `push`."""
        return [axis.masses for axis in self._axes] + [self.push()]

    def update_slopes(self) -> None:
        """Slopes of the masses between axes; to be followed by a transform."""
        self.push()
        for axis in self._axes[1:]:
            axis.set_slopes()

    def slack(self) -> Float64:
        """By how much φ may rise, by the last transform, without a change of φ^c where there is mass; 0 at sites that take it."""
        slack = np.where(self._occupied, 0.0, np.inf)
        for axis in self._axes:
            slack = axis.slack(slack)
        return np.where(np.isfinite(slack), slack, 0.0)

    def stiffness(self, values: Float64) -> Float64:
        """The derivative of push when φ moves along values: symmetric, ≥ 0. To be called after `couplings`."""
        return self._stiffness(len(self._axes) - 1, values)

    def _stiffness(self, last: int, values: Float64) -> Float64:
        axis = self._axes[last]
        own = axis.stiffness(values)
        if last == 0:
            return own
        return own + axis.push(self._stiffness(last - 1, axis.pull(values)))

    def couplings(self, reach: float = math.inf) -> list[Float64]:
        """Per axis, couplings to the next site whose Laplacian approximates `stiffness`, sites that take nothing included if they
        would take something after a rise of φ by the reach.
        """
        found = []
        for k, axis in enumerate(self._axes):
            axis.couple(reach)
            coupling = axis.couplings
            for later in self._axes[k + 1 :]:
                coupling = later.push(coupling)
            found.append(coupling)
        return found

    def cost_of_points(self) -> float:
        """Σ of mass times |x_i − x_j|² of the plan that moves each share of a cell from center to center."""
        return sum(axis.cost_of_points() for axis in self._axes)
