"""Laws from which a measure starts, by name, and densities from files."""

from __future__ import annotations

import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import solvers
from meanfield.data_files.npz import ArchiveError, read_arrays
from solvers._support.annotations import Gt, checked
from solvers._support.arguments import refusal, wrong_shape

Floats = NDArray[np.float64]
Positive = Annotated[float, Gt(0)]
Vector = tuple[float, ...]

#: Nodes of the quadrature in a cell along an axis, by the number of axes, and the cells from which points are drawn.
_NODES = {1: 8, 2: 4, 3: 2}
_FINE = {1: 4096, 2: 256, 3: 64}
_BEYOND = 9.0  # standard deviations outside of which a normal law has no mass in float64


class Law(ABC):
    """A law on space, as a grid, quantiles or particles."""

    @abstractmethod
    def on_grid(self, edges: tuple[Floats, ...]) -> solvers.Grid:
        """Its cell averages."""

    @abstractmethod
    def on_line(self, cells: int) -> solvers.Quantiles:
        """Its quantiles."""

    @abstractmethod
    def as_particles(self, count: int, dimension: int, seed: int) -> solvers.Particles:
        """Independent draws."""


class Density(Law):
    """A law by its density up to a factor, zero outside a box."""

    @abstractmethod
    def density(self, x: Floats) -> Floats:
        """At points (M, D)."""

    @abstractmethod
    def box(self, dimension: int) -> tuple[Floats, Floats]:
        """The lowest and the highest coordinates of a box that has all of the mass."""

    def on_grid(self, edges: tuple[Floats, ...]) -> solvers.Grid:
        try:
            return solvers.Grid.from_density(edges, self.density, _NODES[len(edges)])
        except ValueError as error:
            if "at least 0 and above 0" not in str(error):
                raise
            raise ValueError("it must have mass on the grid, got none in its box") from None

    def on_line(self, cells: int) -> solvers.Quantiles:
        return solvers.Quantiles.of(self._fine(1), cells)

    def as_particles(self, count: int, dimension: int, seed: int) -> solvers.Particles:
        return solvers.Particles(self.draws(count, dimension, np.random.default_rng(seed)))

    def draws(self, count: int, dimension: int, rng: np.random.Generator) -> Floats:
        """From the cells of a fine grid, uniform in each."""
        grid = self._fine(dimension)
        cells = rng.choice(grid.masses.size, count, p=grid.masses.ravel())
        widths = np.array([axis[1] - axis[0] for axis in grid.edges])
        return grid.points[cells] + widths * (rng.random((count, dimension)) - 0.5)

    def _fine(self, dimension: int) -> solvers.Grid:
        if dimension not in _FINE:
            raise refusal("dimension", "at most 3 for this law", dimension)
        low, high = self.box(dimension)
        cells = _FINE[dimension]
        edges = tuple(np.linspace(a, b, cells + 1) for a, b in zip(low, high, strict=True))
        return solvers.Grid.from_density(edges, self.density, _NODES[dimension])


class Gaussian(Density):
    """A normal law with independent coordinates of one standard deviation.

    Parameters
    ----------
    mean : array of numbers, optional
        By default 0.
    deviation : float
        Standard deviation of every coordinate, above 0.
    """

    @checked
    def __init__(self, mean: Vector | None = None, deviation: Positive = 1.0) -> None:
        self.mean, self.deviation = mean, deviation

    def density(self, x: Floats) -> Floats:
        centered = (x - self._center(x.shape[1])) / self.deviation
        return np.exp(-0.5 * np.sum(centered**2, axis=1))

    def box(self, dimension: int) -> tuple[Floats, Floats]:
        center, reach = self._center(dimension), _BEYOND * self.deviation
        return center - reach, center + reach

    def draws(self, count: int, dimension: int, rng: np.random.Generator) -> Floats:
        return self._center(dimension) + self.deviation * rng.standard_normal((count, dimension))

    def _center(self, dimension: int) -> Floats:
        return np.zeros(dimension) if self.mean is None else _vector("mean", self.mean, dimension)


class GaussianMixture(Density):
    """Several normal laws of one standard deviation, of equal mass.

    Parameters
    ----------
    means : array of arrays of numbers
        The mean of each.
    deviation : float
        Standard deviation of every coordinate, above 0.
    """

    @checked
    def __init__(self, means: ArrayLike, deviation: Positive = 1.0) -> None:
        self.means = np.array(means, dtype=np.float64)
        self.deviation = deviation
        if self.means.ndim != 2 or not self.means.size:
            raise wrong_shape("means", "(k, D) with k, D ≥ 1", self.means.shape)

    def density(self, x: Floats) -> Floats:
        total = np.zeros(len(x))
        for mean in self._of(x.shape[1]):
            total += np.exp(-0.5 * np.sum((x - mean) ** 2, axis=1) / self.deviation**2)
        return total

    def box(self, dimension: int) -> tuple[Floats, Floats]:
        means, reach = self._of(dimension), _BEYOND * self.deviation
        return means.min(axis=0) - reach, means.max(axis=0) + reach

    def draws(self, count: int, dimension: int, rng: np.random.Generator) -> Floats:
        means = self._of(dimension)
        which = rng.integers(len(means), size=count)
        return means[which] + self.deviation * rng.standard_normal((count, dimension))

    def _of(self, dimension: int) -> Floats:
        if self.means.shape[1] != dimension:
            raise wrong_shape("means", f"(k, {dimension})", self.means.shape)
        return self.means


class Uniform(Density):
    """The uniform law in a box.

    Parameters
    ----------
    low, high : array of numbers
        Its corners.
    """

    def __init__(self, low: Vector, high: Vector) -> None:
        if len(low) != len(high) or not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"high must be above low in every coordinate, got {low} and {high}")
        self.low, self.high = low, high

    def density(self, x: Floats) -> Floats:
        low, high = self.box(x.shape[1])
        return np.all((x >= low) & (x <= high), axis=1).astype(np.float64)

    def box(self, dimension: int) -> tuple[Floats, Floats]:
        return _vector("low", self.low, dimension), _vector("high", self.high, dimension)

    def draws(self, count: int, dimension: int, rng: np.random.Generator) -> Floats:
        low, high = self.box(dimension)
        return low + (high - low) * rng.random((count, dimension))


class Barenblatt(Density):
    """Barenblatt's solution of the porous medium equation ∂_t ρ = Δρ^m at a time, a cap with a sharp front.

    Parameters
    ----------
    exponent : float
        m > 1.
    time : float
        Since the mass was at 0, above 0.
    """

    @checked
    def __init__(self, exponent: Annotated[float, Gt(1)] = 2.0, time: Positive = 1.0) -> None:
        self.exponent, self.time = exponent, time

    def density(self, x: Floats) -> Floats:
        beta, k, c = self._constants(x.shape[1])
        squares = np.sum(x**2, axis=1) * self.time ** (-2 * beta)
        return np.maximum(c - k * squares, 0.0) ** (1 / (self.exponent - 1))

    def box(self, dimension: int) -> tuple[Floats, Floats]:
        beta, k, c = self._constants(dimension)
        front = np.full(dimension, math.sqrt(c / k) * self.time**beta)
        return -front, front

    def _constants(self, d: int) -> tuple[float, float, float]:
        """β, k and C of t^(−dβ) (C − k |x|² t^(−2β))₊^(1/(m−1)), of mass one: C^(1/(m−1) + d/2) k^(−d/2) B = 1, where B is the
        integral of (1 − |x|²)^(1/(m−1)) over the unit ball.
        """
        from scipy.special import gammaln

        m, power = self.exponent, 1 / (self.exponent - 1)
        beta = 1 / (d * (m - 1) + 2)
        k = beta * (m - 1) / (2 * m)
        log_ball = d / 2 * math.log(math.pi) + gammaln(power + 1) - gammaln(power + 1 + d / 2)
        return beta, k, math.exp((d / 2 * math.log(k) - log_ball) / (power + d / 2))


class Npz(Law):
    """Arrays of an .npz file: the `density` or the `masses` of the cells of a grid, the `values` of a quantile function, or the
    `positions` of particles, with `weights` where these are not equal.

    Parameters
    ----------
    path : path
        Of the file.
    """

    def __init__(self, path: PathLike[str]) -> None:
        self.path = Path(path)

    def on_grid(self, edges: tuple[Floats, ...]) -> solvers.Grid:
        shape = tuple(len(axis) - 1 for axis in edges)
        name, values = self._first("density", "masses")
        if values.shape != shape:
            raise self._wrong(f"{name} must have the shape of the grid {shape}, got {values.shape}")
        if not np.all(np.isfinite(values)):
            raise self._wrong(f"{name} must be finite, got NaN or infinity")
        if values.min() < 0:
            raise self._wrong(f"{name} must be at least 0, got {values.min():.6g}")
        if values.max() == 0:
            raise self._wrong(f"{name} must be above 0 somewhere, got 0 in all cells")
        values = np.ldexp(values, -int(np.frexp(values.max())[1]))  # whose sum is a number
        grid = solvers.Grid(edges, np.full(shape, 1 / math.prod(shape)))
        masses = values * grid.volumes if name == "density" else values
        return solvers.Grid(edges, masses / masses.sum())

    def on_line(self, cells: int) -> solvers.Quantiles:
        _, values = self._first("values")
        if values.shape != (cells + 1,):
            raise self._wrong(f"values must have the shape ({cells + 1},), got {values.shape}")
        return self._made(solvers.Quantiles, values)

    def as_particles(self, count: int, dimension: int, seed: int) -> solvers.Particles:
        _, positions = self._first("positions")
        if positions.shape != (count, dimension):
            shape = (count, dimension)
            raise self._wrong(f"positions must have the shape {shape}, got {positions.shape}")
        weights = None
        if "weights" in self._names():
            _, weights = self._first("weights")
        return self._made(solvers.Particles, positions, weights)

    def _first(self, *names: str) -> tuple[str, Floats]:
        """The first of these arrays that the file has."""
        there = [name for name in names if name in self._names()] or [names[0]]
        try:
            found = read_arrays(self.path, there[:1])
        except FileNotFoundError:
            raise self._wrong("there is no such file") from None
        except ArchiveError as error:
            raise self._wrong(str(error)) from None
        return there[0], found[there[0]].astype(np.float64)

    def _names(self) -> list[str]:
        """Of its arrays; none where it cannot be read, which `_first` says."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        except (OSError, zipfile.BadZipFile, ValueError):
            return []

    def _made(self, kind: Any, *arrays: Any) -> Any:
        try:
            return kind(*arrays)
        except ValueError as error:
            raise self._wrong(str(error)) from None

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.path}: {what}")


#: A new law is its class and its line here.
LAWS: Mapping[str, type[Law]] = {
    "gaussian": Gaussian,
    "gaussian_mixture": GaussianMixture,
    "uniform": Uniform,
    "barenblatt": Barenblatt,
    "npz": Npz,
}


def _vector(name: str, value: Vector, dimension: int) -> Floats:
    if len(value) != dimension:
        raise refusal(name, f"of as many numbers as there are coordinates, {dimension}", value)
    return np.array(value, dtype=np.float64)
