"""Laws of centers and fluctuations on the line, as masses of the cells of a rectangular grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._kernels import finite_volume
from solvers._support.arguments import count, finite_array, instance, wrong_shape
from solvers._support.memory import fitting
from solvers._support.reprs import compact_repr
from solvers.flow import check_learning_rate
from solvers.measures.quantile_functions import Float64, quantile
from solvers.measures.representations import Grid

_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
_ROUNDING = 1e-9  # of the sum of masses

# Largest number of values of θ ± u, of 8 bytes each.
_MOST_LATTICE_POINTS = 2**26


@dataclass(frozen=True, eq=False)
class PhaseSpaceGrid:
    """Equidistant cells along θ and u, such that θ ± u takes few values on it.

    The larger of the two spacings is an odd multiple of the smaller, δ. Then all
    centers of cells have θ + u on one lattice of spacing δ and θ − u on another, of at most rows·p + columns·q points (p, q: the
    spacings in units of δ), and the centers of the faces have theirs half-way between those points.

    Parameters
    ----------
    theta_edges, u_edges : (rows + 1,), (columns + 1,)
        Increasing, at least four cells each.

    Raises
    ------
    ValueError
        For anything else.
    """

    theta_edges: Float64
    u_edges: Float64

    __repr__ = compact_repr

    def __post_init__(self) -> None:
        for name in ("theta_edges", "u_edges"):
            edges = finite_array(name, getattr(self, name)).astype(np.float64)
            if edges.ndim != 1 or len(edges) < 5:
                raise wrong_shape(name, "(n + 1,) with n ≥ 4", edges.shape)
            widths = np.diff(edges)
            if not (widths.min() > 0 and np.ptp(widths) <= 1e-6 * widths.min()):
                raise ValueError(
                    f"{name} must increase by equal distances, got distances from "
                    f"{widths.min():.6g} to {widths.max():.6g}"
                )
            object.__setattr__(self, name, edges)
        ratio = self.spacings[0] / self.spacings[1]
        odd = round(max(ratio, 1.0 / ratio))
        points = odd * (self.shape[0] if ratio > 1.0 else self.shape[1])
        if points > _MOST_LATTICE_POINTS:
            raise ValueError(
                f"theta_edges, u_edges must have spacings of which the larger spans at most {_MOST_LATTICE_POINTS:,} of the "
                f"smaller, got {self.spacings}: {points:,}; a law so narrow is one of particles, see FreeEnergyFlow"
            )
        if odd % 2 == 0 or abs(max(ratio, 1.0 / ratio) - odd) > 1e-6 * odd:
            raise ValueError(
                "the spacing of theta_edges must be an odd multiple of that of u_edges, or the reverse, "
                f"got {self.spacings}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.theta_edges) - 1, len(self.u_edges) - 1

    @property
    def spacings(self) -> tuple[float, float]:
        """Spacings of θ and u."""
        (a, b), (rows, columns) = (self.theta_edges[[0, -1]], self.u_edges[[0, -1]]), self.shape
        return float(a[1] - a[0]) / rows, float(b[1] - b[0]) / columns

    @property
    def strides(self) -> tuple[int, int]:
        """The spacings (p, q) in units of δ, one of them 1."""
        rows, columns = self.spacings
        return (round(rows / columns), 1) if rows >= columns else (1, round(columns / rows))

    @property
    def theta_centers(self) -> Float64:
        """(rows,)."""
        return 0.5 * (self.theta_edges[1:] + self.theta_edges[:-1])

    @property
    def u_centers(self) -> Float64:
        """(columns,)."""
        return 0.5 * (self.u_edges[1:] + self.u_edges[:-1])

    @cached_property
    def lattices(self) -> tuple[Float64, Float64]:
        """The values of θ + u at the centers of cells, increasing, and of θ − u, decreasing."""
        return self._lattices(0)

    @cached_property
    def face_lattices(self) -> tuple[Float64, Float64]:
        """The values at the centers of faces."""
        return self._lattices(max(self.strides))

    def _lattices(self, beyond: int) -> tuple[Float64, Float64]:
        (rows, columns), (p, q) = self.shape, self.strides
        steps = np.arange(p * (rows - 1) + q * (columns - 1) + 1 + beyond) - 0.5 * beyond
        distance = min(self.spacings) * steps
        theta, u = self.theta_centers, self.u_centers
        return theta[0] + u[0] + distance, theta[-1] - u[0] - distance

    def laws(self, masses: Float64) -> tuple[Float64, Float64]:
        """Of θ + u and of θ − u, as masses on the lattices."""
        plus, minus = (np.empty(len(lattice)) for lattice in self.lattices)
        finite_volume.endpoint_laws(masses, *self.strides, plus, minus)
        return plus, minus

    def padded(self, cells: Sequence[int]) -> PhaseSpaceGrid:
        """The grid with `cells` more cells below and above in θ, and below and above in u."""
        edges: list[Float64] = []
        for old, spacing, before, after in zip(
            (self.theta_edges, self.u_edges), self.spacings, cells[::2], cells[1::2], strict=True
        ):
            steps = np.arange(-before, len(old) + after, dtype=np.float64)
            edges.append(old[0] + spacing * steps)
        return PhaseSpaceGrid(*edges)

    @classmethod
    def covering(
        cls, domain: tuple[tuple[float, float], tuple[float, float]], cells: tuple[int, int]
    ) -> PhaseSpaceGrid:
        """A grid of this shape that covers the domain, one side of which is widened about its middle, by at most √3."""
        spacings = [(high - low) / n for (low, high), n in zip(domain, cells, strict=True)]
        large, small = (0, 1) if spacings[0] >= spacings[1] else (1, 0)
        ratio = spacings[large] / spacings[small]
        below = 2 * int((ratio - 1) // 2) + 1
        odd = min(below, below + 2, key=lambda k: max(k / ratio, ratio / k))
        spacings[small] = max(spacings[small], spacings[large] / odd)
        spacings[large] = odd * spacings[small]
        edges: list[Float64] = [
            0.5 * (low + high) + spacing * (np.arange(n + 1, dtype=np.float64) - 0.5 * n)
            for (low, high), spacing, n in zip(domain, spacings, cells, strict=True)
        ]
        return cls(*edges)


@dataclass(frozen=True, eq=False)
class PhaseSpaceDensity:
    """A law p(θ, u) of a center and a fluctuation, both real, constant in the cells of a grid.

    Integrals of functions use their values at the centers of cells, with an error of order two in the width of the cells.

    Parameters
    ----------
    theta_edges, u_edges : (rows + 1,), (columns + 1,)
        Edges of the cells, in the units of the parameter: equidistant, one spacing an odd multiple of the other.
    masses : (rows, columns)
        Masses of the cells: nonnegative, of sum one.

    Raises
    ------
    ValueError
        For anything else, and for fewer than four cells in a direction.

    Examples
    --------
    Equal masses in the cells of [0, 4]², of which integrals use the centers:

    >>> law = solvers.PhaseSpaceDensity(np.arange(5.0), np.arange(5.0), np.full((4, 4), 1 / 16))
    >>> law.mean_center, law.fluctuation_trace  # (0.5² + 1.5² + 2.5² + 3.5²)/4
    (2.0, 5.25)
    >>> law.theta_marginal().masses
    array([0.25, 0.25, 0.25, 0.25])
    """

    theta_edges: Float64
    u_edges: Float64
    masses: Float64

    __repr__ = compact_repr

    def __post_init__(self) -> None:
        grid = PhaseSpaceGrid(self.theta_edges, self.u_edges)
        masses = finite_array("masses", self.masses).astype(np.float64)
        if masses.shape != grid.shape:
            raise wrong_shape("masses", grid.shape, masses.shape)
        total = float(masses.sum())
        if not (np.all(masses >= 0) and abs(total - 1.0) <= _ROUNDING):
            raise ValueError(
                "masses must be at least 0 and sum to 1, "
                f"got a minimum of {float(masses.min())!r} and a sum of {total!r}"
            )
        object.__setattr__(self, "theta_edges", grid.theta_edges)
        object.__setattr__(self, "u_edges", grid.u_edges)
        object.__setattr__(self, "masses", masses)

    @cached_property
    def grid(self) -> PhaseSpaceGrid:
        """The cells."""
        return PhaseSpaceGrid(self.theta_edges, self.u_edges)

    @classmethod
    def of_particles(
        cls, grid: PhaseSpaceGrid, centers: Float64, fluctuations: Float64
    ) -> PhaseSpaceDensity:
        """The law of equal particles (N,), each distributed bilinearly over the four nearest cells: the means are preserved.

        Raises
        ------
        ValueError
            For particles that do not lie between centers of cells.
        """
        instance("grid", grid, PhaseSpaceGrid)
        centers, fluctuations = (
            finite_array(name, value).astype(np.float64)
            for name, value in (("centers", centers), ("fluctuations", fluctuations))
        )
        if centers.ndim != 1 or centers.shape != fluctuations.shape:
            raise ValueError(
                f"centers and fluctuations must have one shape (N,), got {centers.shape} and {fluctuations.shape}"
            )
        i, row_share = _place("centers", centers, grid.theta_centers)
        j, column_share = _place("fluctuations", fluctuations, grid.u_centers)
        masses = np.zeros(grid.shape[0] * grid.shape[1])
        for row, row_part in ((i, 1.0 - row_share), (i + 1, row_share)):
            for column, column_part in ((j, 1.0 - column_share), (j + 1, column_share)):
                flat = row * grid.shape[1] + column
                masses += np.bincount(flat, row_part * column_part, len(masses))
        masses = masses.reshape(grid.shape) / len(centers)
        return cls(grid.theta_edges, grid.u_edges, masses)

    def theta_marginal(self) -> Grid:
        """The law of θ."""
        return Grid(self.theta_edges, self.masses.sum(axis=1))

    def u_marginal(self) -> Grid:
        """The law of u."""
        return Grid(self.u_edges, self.masses.sum(axis=0))

    @property
    def mean_center(self) -> float:
        """∫ θ dp."""
        return float(self.masses.sum(axis=1) @ self.grid.theta_centers)

    @property
    def fluctuation_trace(self) -> float:
        """tr Σ = ∫ u² dp."""
        return float(self.masses.sum(axis=0) @ self.grid.u_centers**2)

    def mean_loss(self, objective: Any) -> float:
        """½ (E[μ₊] + E[μ₋]), μ± the law of θ ± u: the loss averaged over the oscillation."""
        laws = zip(self.grid.lattices, self.grid.laws(self.masses), strict=True)
        return sum(0.5 * float(objective.value(x[:, None], weights=p)) for x, p in laws)

    def free_energy(self, objective: Any, learning_rate: float) -> float:
        """F = ½ (E[μ₊] + E[μ₋]) − ∫ u² dp / η."""
        return self.mean_loss(objective) - self.fluctuation_trace / check_learning_rate(
            learning_rate
        )

    def particles(self, n: int) -> tuple[Float64, Float64]:
        """n equal particles of this law, centers (n, 1) and fluctuations (n, 1), deterministic.

        The Rosenblatt transform of n low-discrepancy points ((i + ½)/n, frac((i + ½) φ)) with the golden ratio φ: quantiles
        of θ, and of u in the row of cells of θ. Averages of smooth functions have errors O(log n / n).

        Raises
        ------
        ValueError
            For n < 1.
        """
        n = count("n", n)
        fitting("n", n, n)
        indices = np.arange(n) + 0.5
        levels, within = indices / n, (indices * _GOLDEN) % 1.0
        theta = self.theta_marginal()
        fluctuations = np.empty(n)
        cumulative = np.cumsum(theta.masses)
        rows = np.minimum(np.searchsorted(cumulative, levels), np.flatnonzero(theta.masses)[-1])
        for row in np.unique(rows):
            here = rows == row
            law = Grid(self.u_edges, self.masses[row] / self.masses[row].sum())
            fluctuations[here] = quantile(law.pieces(), within[here])
        return quantile(theta.pieces(), levels)[:, None], fluctuations[:, None]


def _place(name: str, x: Float64, centers: Float64) -> tuple[NDArray[np.intp], Float64]:
    """The index of the center before each point, and the fraction of the distance to the next."""
    position = (x - centers[0]) / (centers[1] - centers[0])
    if not (np.min(position) >= 0 and np.max(position) <= len(centers) - 1):
        raise ValueError(
            f"{name} must be between the centers of cells of the domain, {centers[0]:.6g} to {centers[-1]:.6g}, "
            f"got {np.min(x):.6g} to {np.max(x):.6g}"
        )
    before = np.minimum(position.astype(np.intp), len(centers) - 2)
    return before, position - before
