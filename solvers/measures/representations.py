"""Representations of probability measures: by particles, by cells of a grid, by quantiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike

from solvers._support.arguments import (
    array,
    count,
    finite_array,
    probabilities,
    refusal,
    wrong_shape,
)
from solvers._support.arguments import function as checked_function
from solvers._support.memory import fitting
from solvers._support.reprs import compact_repr
from solvers.measures.quantile_functions import Float64, Pieces, integral, quantile

#: Widths that differ by no more, relatively, are considered equal.
_EQUAL_WIDTHS = 1e-9
_MOST_NODES = 1000  # of a quadrature: computing more takes minutes
#: Sides of cells, whose volumes, densities and their squares are numbers, and the largest quantile, whose square is one.
_SIDES, _FARTHEST = (1e-50, 1e50), 1e100
_UNITS = "give lengths in other units"


@dataclass(frozen=True, eq=False, init=False)
class Particles:
    """Σ_i p_i δ_{x_i}.

    Parameters
    ----------
    positions : (N, D), or (N,) on the line
    weights : (N,), optional
        p ≥ 0 of sum one; by default 1/N each.

    Raises
    ------
    ValueError
        For empty or non-finite positions, or weights that are not probabilities.

    Examples
    --------
    >>> measure = solvers.Particles([[0.0], [4.0]], weights=[0.75, 0.25])
    >>> measure.mean(), measure.covariance()
    (array([1.]), array([[3.]]))
    """

    positions: Float64
    weights: Float64

    __repr__ = compact_repr

    def __init__(self, positions: ArrayLike, weights: ArrayLike | None = None) -> None:
        x = check_positions("positions", positions)
        object.__setattr__(self, "positions", x)
        object.__setattr__(self, "weights", probabilities("weights", weights, (len(x),)))

    @property
    def dimension(self) -> int:
        """D."""
        return self.positions.shape[1]

    def mean(self) -> Float64:
        """(D,)."""
        return self.weights @ self.positions

    def covariance(self) -> Float64:
        """(D, D)."""
        centered = self.positions - self.mean()
        return (self.weights * centered.T) @ centered

    def pieces(self) -> Pieces:
        """The measure on the line as pieces; raises a ValueError in other dimensions."""
        _check_line(self.dimension)
        order = np.argsort(self.positions[:, 0], kind="stable")
        x = self.positions[order, 0]
        return Pieces.of(self.weights[order], x, x)


@dataclass(frozen=True, eq=False, init=False)
class Grid:
    """A density that is constant in every cell of a grid on an interval, a rectangle or a box.

    Parameters
    ----------
    edges : (n1 + 1,), or a tuple of one such array per axis, at most three
        Increasing; cell i of an axis lies between edges i and i + 1.
    masses : (n1,), (n1, n2) or (n1, n2, n3)
        Masses of the cells: cell-averaged density times volume, ≥ 0, of sum one.

    Raises
    ------
    ValueError
        For edges that do not increase, masses that are not probabilities, or more than three axes.

    Examples
    --------
    The uniform density on [0, 2], of variance 2²/12:

    >>> measure = solvers.Grid([0.0, 1.0, 2.0], [0.5, 0.5])
    >>> measure.density, measure.mean(), measure.covariance().round(6)
    (array([0.5, 0.5]), array([1.]), array([[0.333333]]))
    """

    edges: tuple[Float64, ...]
    masses: Float64

    __repr__ = compact_repr

    def __init__(self, edges: ArrayLike | tuple[ArrayLike, ...], masses: ArrayLike) -> None:
        axes = _check_edges(edges)
        shape = tuple(len(axis) - 1 for axis in axes)
        object.__setattr__(self, "edges", axes)
        object.__setattr__(self, "masses", probabilities("masses", masses, shape))

    @classmethod
    def from_density(
        cls,
        edges: ArrayLike | tuple[ArrayLike, ...],
        function: Callable[[Float64], ArrayLike],
        nodes: int = 8,
    ) -> Grid:
        """Cell averages of a density by Gauss quadrature, scaled to mass one.

        Parameters
        ----------
        edges : as of the grid
        function : (M, D) points -> (M,)
            The density up to a factor.
        nodes : int
            Quadrature nodes per cell and axis: exact for polynomials up to degree 2·nodes − 1.

        Raises
        ------
        ValueError
            As for the grid; for a density that is negative, not finite or zero at every node, or of wrong shape.
        """
        axes = _check_edges(edges)
        nodes = count("nodes", nodes, 1, _MOST_NODES)
        checked_function("function", function)
        fitting("nodes", nodes, *(nodes * (len(axis) - 1) for axis in axes), len(axes))
        s, w = unit_gauss(nodes)
        points = [(axis[:-1, None] + s * np.diff(axis)[:, None]).ravel() for axis in axes]
        weights = [(w * np.diff(axis)[:, None]).ravel() for axis in axes]
        mesh = np.stack(np.meshgrid(*points, indexing="ij"), axis=-1)
        density = array("function", function(mesh.reshape(-1, len(axes)))).astype(np.float64)
        if density.shape != (mesh.size // len(axes),):
            raise wrong_shape(
                "function's value", f"{(mesh.size // len(axes),)}, one per point", density.shape
            )
        if not (np.all(np.isfinite(density)) and np.all(density >= 0) and np.any(density > 0)):
            raise ValueError(
                "function must be a density, finite, at least 0 and above 0 somewhere, "
                f"got values from {density.min():.6g} to {density.max():.6g}"
            )
        masses = density.reshape(mesh.shape[:-1])
        for k, weight in enumerate(weights):
            split = (*masses.shape[:k], -1, nodes, *masses.shape[k + 1 :])
            along = np.expand_dims(weight, tuple(range(1, masses.ndim - k)))
            masses = (masses * along).reshape(split).sum(axis=k + 1)
        return cls(axes, masses / masses.sum())

    @property
    def dimension(self) -> int:
        """1, 2 or 3."""
        return len(self.edges)

    @property
    def centers(self) -> tuple[Float64, ...]:
        """Centers of the cells along each axis."""
        return tuple(0.5 * (axis[1:] + axis[:-1]) for axis in self.edges)

    @property
    def points(self) -> Float64:
        """Centers of the cells, (n1, D), (n1 n2, D) or (n1 n2 n3, D), the last axis running fastest."""
        mesh = np.meshgrid(*self.centers, indexing="ij")
        return np.stack(mesh, axis=-1).reshape(-1, self.dimension)

    @property
    def volumes(self) -> Float64:
        """Volumes of the cells, shaped like masses."""
        widths = [np.diff(axis) for axis in self.edges]
        return reduce(np.multiply.outer, widths)

    @property
    def is_regular(self) -> bool:
        """Whether all cells are of one size, up to rounding."""
        widths = [np.diff(axis) for axis in self.edges]
        return all(float(np.ptp(w)) <= _EQUAL_WIDTHS * float(w.max()) for w in widths)

    @property
    def density(self) -> Float64:
        """ρ, shaped like masses."""
        return self.masses / self.volumes

    def mean(self) -> Float64:
        """(D,)."""
        return self.masses.ravel() @ self.points

    def covariance(self) -> Float64:
        """(D, D), including the variance within cells."""
        centered = self.points - self.mean()
        of_centers = (self.masses.ravel() * centered.T) @ centered
        return of_centers + np.diag(self.cell_variances())

    def cell_variances(self) -> Float64:
        """E[h²/12] along each axis, h the width of the cell of a point: W2² from the density to its masses at the centers."""
        others = [tuple(j for j in range(self.dimension) if j != k) for k in range(self.dimension)]
        squares = zip(self.edges, others, strict=True)
        return np.array(
            [self.masses.sum(axis=rest) @ np.diff(axis) ** 2 / 12 for axis, rest in squares]
        )

    def pieces(self) -> Pieces:
        """The measure on the line as pieces; raises a ValueError in other dimensions."""
        _check_line(self.dimension)
        return Pieces.of(self.masses, self.edges[0][:-1], self.edges[0][1:])


@dataclass(frozen=True, eq=False, init=False)
class Quantiles:
    """A measure on the line by its quantile function: q(i/n) = values[i], linear in between.

    Each of the n cells [values[i], values[i + 1]] has mass 1/n, uniformly distributed; a cell of zero width is an atom.

    Parameters
    ----------
    values : (n + 1,)
        Non-decreasing.

    Raises
    ------
    ValueError
        For fewer than two values, values that decrease or are not finite.

    Examples
    --------
    The uniform density on [0, 2], of variance 2²/12:

    >>> measure = solvers.Quantiles([0.0, 1.0, 2.0])
    >>> measure.density, measure.mean(), measure.covariance().round(6)
    (array([0.5, 0.5]), array([1.]), array([[0.333333]]))
    """

    values: Float64

    __repr__ = compact_repr

    def __init__(self, values: ArrayLike) -> None:
        q = finite_array("values", values).astype(np.float64)
        if q.ndim != 1 or len(q) < 2:
            raise wrong_shape("values", "(n + 1,) with n ≥ 1", q.shape)
        if (largest := float(np.abs(q).max())) > _FARTHEST:
            raise ValueError(f"values must be within ±{_FARTHEST:g}, got {largest:g}; {_UNITS}")
        if np.any(np.diff(q) < 0):
            i = int(np.argmin(np.diff(q)))
            raise ValueError(f"values must not decrease, got {q[i]:.6g} followed by {q[i + 1]:.6g}")
        object.__setattr__(self, "values", q)

    @classmethod
    def of(cls, measure: Measure, cells: int) -> Quantiles:
        """The quantiles i/n of another measure on the line, 0 < i < n = cells; the two ends are such that the outer cells keep
        their means.

        So the mass of a tail counts, not its length: the error of the variance is below O(1/n) (relative 3e-4 for a Gaussian
        and n = 500).

        Raises
        ------
        ValueError
            For a measure that is not on the line, or cells below one.
        """
        n = count("cells", cells)
        fitting("cells", n, n)
        if not isinstance(measure, Measure):
            raise refusal("measure", "a Particles, Grid or Quantiles", measure)
        whole = measure.pieces()
        if n == 1:
            return cls(quantile(whole, [0.0, 1.0]))
        inner = quantile(whole, np.arange(1, n) / n)
        below, above, total = integral(whole, [1 / n, 1 - 1 / n, 1.0])
        first, last = 2 * n * below - inner[0], 2 * n * (total - above) - inner[-1]
        return cls([min(first, inner[0]), *inner, max(last, inner[-1])])

    @property
    def dimension(self) -> int:
        """1."""
        return 1

    @property
    def density(self) -> Float64:
        """1/(n width) of the cells, (n,); infinite at atoms."""
        widths = np.diff(self.values)
        with np.errstate(divide="ignore"):
            return 1.0 / (len(widths) * widths)

    def mean(self) -> Float64:
        """(1,)."""
        return np.array([np.mean(0.5 * (self.values[1:] + self.values[:-1]))])

    def covariance(self) -> Float64:
        """(1, 1)."""
        left, right = self.values[:-1] - self.mean(), self.values[1:] - self.mean()
        return np.array([[np.mean(left**2 + left * right + right**2) / 3]])

    def pieces(self) -> Pieces:
        """The measure as pieces, one per cell."""
        n = len(self.values) - 1
        return Pieces.of(np.full(n, 1.0 / n), self.values[:-1], self.values[1:])


Measure = Particles | Grid | Quantiles


def unit_gauss(nodes: int) -> tuple[Float64, Float64]:
    """Nodes and weights of Gauss–Legendre quadrature on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return 0.5 * (x + 1.0), 0.5 * w


def check_positions(name: str, value: ArrayLike) -> Float64:
    """Finite positions as (n, D), n, D ≥ 1; (n,) becomes (n, 1)."""
    x = np.array(array(name, value), dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.size == 0:
        raise wrong_shape(name, "(n, D) with n, D ≥ 1", x.shape)
    finite_array(name, x)
    return x


def _check_edges(edges: ArrayLike | tuple[ArrayLike, ...]) -> tuple[Float64, ...]:
    """One increasing array per axis, for one to three axes."""
    several = isinstance(edges, tuple | list) and len(edges) > 0 and _has_axes(edges[0])
    axes = tuple(
        array("edges", axis).astype(np.float64)
        for axis in (edges if several else (edges,))  # type: ignore[union-attr]
    )
    for k, axis in enumerate(axes):
        if axis.ndim != 1 or len(axis) < 2:
            raise wrong_shape(f"axis {k} of edges", "(n + 1,) with n ≥ 1", axis.shape)
        if not (np.all(np.isfinite(axis)) and np.all(np.diff(axis) > 0)):
            raise refusal(f"axis {k} of edges", "finite and increasing", axis.tolist())
        least, most = _SIDES
        for side in (float(np.diff(axis).min()), float(np.diff(axis).max())):
            if not least <= side <= most:
                raise ValueError(
                    f"axis {k} of edges must have cells of {least:g} to {most:g}, got one of {side:g}; {_UNITS}"
                )
    if len(axes) > 3:
        cells = float(np.prod([len(axis) - 1.0 for axis in axes]))
        raise ValueError(
            f"edges must have 1 to 3 axes, got {len(axes)}: this {len(axes)}-dimensional grid has {cells:.3g} cells, "
            f"{8 * cells / 2**30:.3g} GiB for the masses alone; use Particles instead"
        )
    return axes


def _has_axes(value: object) -> bool:
    return not isinstance(value, str | bytes) and (
        isinstance(value, Sequence) or getattr(value, "ndim", 0) > 0
    )


def _check_line(dimension: int) -> None:
    if dimension != 1:
        raise ValueError(f"measure must have dimension 1 for quantiles, got {dimension}")
