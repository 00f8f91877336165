"""Transport between the points of a regular lattice by a network simplex on few pairs, from coarse lattices to fine ones.

An optimal plan uses fewer pairs than there are points. Those of a coarser lattice, each refined to the pairs of the cells in it,
have a plan, and hardly miss the best. Its potentials u_i, v_j are checked against all pairs, in O(n), by the transform

    f(x_i) = min_j |x_i − x_j|² − v_j.

As f_i + v_j ≤ |x_i − x_j|², W2² is at least Σ a f + Σ b v and at most the cost of the plan. While these differ, the pairs with
f_i < u_i, and those beside them, join, and the others with small reduced costs stay (Schmitzer, arXiv:1510.05466). Nothing is
assumed of the measures: transport may tear mass apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._kernels.grid_transport import envelope_sites
from solvers.grid_transport import distance
from solvers.grid_transport.levels import doubled
from solvers.measures.quantile_functions import Float64
from solvers.progress import UNREPORTED, Portion
from solvers.transport.exact import whole_units
from solvers.transport.simplex import SparseSolution, sparse_simplex

#: So many pairs are all given to the simplex.
_ALL_PAIRS = 2**17
#: Difference of the bounds of W2², relative on coarser lattices and on the given one, and beside it in squared sides; the most
#: solutions of one lattice.
_COARSE, _FINE, _OF_SIDE, _ROUNDS = 1e-3, 3e-4, 0.02, 30
#: Cells are halved until the bounds of W2 differ by less, relatively, or so many have mass, or there are so many.
_ENOUGH, _MOST_OCCUPIED, _MOST_CELLS = 1e-3, 2**14, 2**18
#: Share of the coarser lattices in the work.
_OF_COARSER = 0.125
#: Pairs with a reduced cost below, in squared sides, remain.
_NEAR = 20.0
#: Bytes per cell of the simplex, and those of the lower bound on the finest cells.
_BYTES_PER_CELL, _OF_LOWER_BOUND = 8000, 2**28

Indices = NDArray[np.int64]


class LatticePlan(NamedTuple):
    """least ≤ W2² ≤ most between points, and potentials f and φ that prove `least`, −∞ where there is no mass."""

    least: float
    most: float
    f: Float64
    phi: Float64
    proved: bool


def bytes_needed(shape: tuple[int, ...]) -> int:
    """A bound of the working memory."""
    return _BYTES_PER_CELL * max(int(np.prod(shape)), _MOST_OCCUPIED) + _OF_LOWER_BOUND


def squared_distance(
    edges: tuple[Float64, ...],
    mu: Float64,
    nu: Float64,
    limit: int,
    portion: Portion = UNREPORTED,
) -> distance.Bounds | None:
    """Bounds of W2² as those of `distance.squared_distance`; None where the simplex does not end in `limit` iterations.

    A plan between the centers of equal cells moves the cells themselves at the same cost. Where the bounds are far apart for
    the size of the cells, these are halved.
    """
    edges, centers = distance.centered(edges)
    while True:
        kept = distance.without_tails(mu), distance.without_tails(nu)
        occupied, parts = max(np.count_nonzero(part) for part in kept), 2**mu.ndim
        is_last = occupied * parts > _MOST_OCCUPIED or mu.size * parts > _MOST_CELLS
        own, portion = portion.split(1.0 if is_last else _OF_COARSER)
        found = plan(centers, *kept, limit, portion=own)
        if found is None:
            return None
        misplaced = 0.5 * sum(
            float(np.abs(a - b).sum()) for a, b in zip(kept, (mu, nu), strict=True)
        )
        least = max(
            distance.from_below(edges, centers, found.phi, mu, nu),
            distance.from_below(edges, centers, found.f, nu, mu),
        )
        bounds = distance.bounds(least, found.most, misplaced, edges)
        close = bounds.least >= (1.0 - _ENOUGH) ** 2 * bounds.most
        if close or is_last:
            return bounds._replace(converged=bounds.converged and found.proved)
        edges, centers = distance.centered(tuple(map(_halved, edges)))
        mu, nu = _in_halves(mu), _in_halves(nu)


def _halved(edges: Float64) -> Float64:
    return np.linspace(edges[0], edges[-1], 2 * len(edges) - 1)


def _in_halves(masses: Float64) -> Float64:
    for axis in range(masses.ndim):
        masses = 0.5 * np.repeat(masses, 2, axis=axis)
    return masses


def plan(
    centers: tuple[Float64, ...],
    mu: Float64,
    nu: Float64,
    limit: int,
    tolerance: float = _FINE,
    portion: Portion = UNREPORTED,
) -> LatticePlan | None:
    """Transport between masses at equally spaced centers; None where the simplex does not end in `limit` iterations.

    tolerance : relative difference of the bounds, beside a small one of the size of the cells; 0 for the optimum.
    portion : is called after every solution.
    """
    side = float(np.sqrt(np.mean([(x[1] - x[0]) ** 2 for x in centers])))
    a, b = np.zeros((2, *mu.shape))
    a[mu > 0], b[nu > 0] = whole_units(mu[mu > 0], nu[nu > 0])
    lattice = _Lattice(tuple((x - x[0]) / side for x in centers))
    found = _solved(lattice, a, b, tolerance, limit, portion)
    if found is None:
        return None
    scale, total = side**2, float(a.sum())
    f, phi = (scale * part.reshape(mu.shape) for part in (found.f, found.phi))
    return LatticePlan(
        found.least / total * scale, found.most / total * scale, f, phi, found.proved
    )


@dataclass(frozen=True)
class _Lattice:
    """Its points, numbered as a flat array is."""

    axes: tuple[Float64, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self.axes))

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def squares(self, i: Indices, j: Indices) -> Float64:
        """|x_i − x_j|²."""
        pairs = zip(np.unravel_index(i, self.shape), np.unravel_index(j, self.shape), strict=True)
        moved = [x[k] - x[m] for x, (k, m) in zip(self.axes, pairs, strict=True)]
        return np.asarray(sum(d * d for d in moved))

    def conjugate(self, phi: Float64) -> tuple[Float64, Indices]:
        """min_j |x_i − x_j|² − φ_j, and which point j it is."""
        phi, chosen = phi.reshape(self.shape), []
        for axis, x in enumerate(self.axes):
            lines = np.moveaxis(phi, axis, -1)
            flat = np.require(lines.reshape(-1, len(x)), requirements=["C", "W"])
            sites = np.empty(flat.shape, np.int64)
            envelope_sites(x, 0.5, flat, x, sites)
            least = (x - x[sites]) ** 2 - np.take_along_axis(flat, sites, axis=1)
            phi = -np.moveaxis(least.reshape(lines.shape), -1, axis)
            chosen.append(np.moveaxis(sites.reshape(lines.shape), -1, axis))
        at = list(np.indices(self.shape))
        for axis in reversed(range(len(at))):
            at[axis] = chosen[axis][tuple(at)]
        return -phi.ravel(), np.ravel_multi_index(at, self.shape).ravel()

    def coarser(self) -> _Lattice:
        """Of blocks of two points along each axis; the last may reach beyond the end."""
        return _Lattice(tuple(x[::2] + 0.5 * (x[1] - x[0]) if len(x) > 1 else x for x in self.axes))

    def children(self, blocks: Indices) -> Indices:
        """(blocks, 2^d) points in the blocks; −1 beyond the end."""
        coarse = tuple((n + 1) // 2 for n in self.shape)
        first = np.unravel_index(blocks, coarse)
        found = []
        for corner in product((0, 1), repeat=len(coarse)):
            at = [2 * k + step for k, step in zip(first, corner, strict=True)]
            inside = np.all([k < n for k, n in zip(at, self.shape, strict=True)], axis=0)
            found.append(np.where(inside, np.ravel_multi_index(at, self.shape, mode="clip"), -1))
        return np.stack(found, axis=1)

    def with_neighbours(self, i: Indices, j: Indices) -> tuple[Indices, Indices]:
        """The pairs, and those of i with the points next to j."""
        at, others = np.unravel_index(j, self.shape), [j]
        for axis, n in enumerate(self.shape):
            for step in (-1, 1):
                moved = [*at[:axis], np.clip(at[axis] + step, 0, n - 1), *at[axis + 1 :]]
                others.append(np.ravel_multi_index(moved, self.shape))
        return np.tile(i, len(others)), np.concatenate(others)


class _Found(NamedTuple):
    """The plan in units of mass, by the pairs that it uses, and the rest as in `LatticePlan`."""

    rows: Indices
    columns: Indices
    least: float
    most: float
    f: Float64
    phi: Float64
    proved: bool


def _solved(
    lattice: _Lattice,
    a: Float64,
    b: Float64,
    tolerance: float,
    limit: int,
    portion: Portion,
) -> _Found | None:
    """Transport of the masses a to b on a lattice, by that on a coarser one."""
    occupied = np.flatnonzero(a), np.flatnonzero(b)
    if len(occupied[0]) * len(occupied[1]) <= _ALL_PAIRS:
        i, j = (part.ravel() for part in np.meshgrid(*occupied, indexing="ij"))
    else:
        wide = doubled(a), doubled(b)
        before, portion = portion.split(_OF_COARSER)
        coarse = _solved(lattice.coarser(), *wide, _COARSE, limit, before)
        if coarse is None:
            return None
        rows, columns = lattice.children(coarse.rows), lattice.children(coarse.columns)
        pairs = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
        i, j = (part.ravel() for part in pairs)
        present = (i >= 0) & (j >= 0)
        i, j = _distinct(i[present], j[present], lattice.size)
    restricted = _Restricted(lattice, a.ravel(), b.ravel(), *occupied)
    return restricted.refined(i, j, tolerance, limit, portion)


@dataclass
class _Restricted:
    """Transport that uses only some pairs (i, j), between the masses a and b of the points in `rows` and `columns`."""

    lattice: _Lattice
    a: Float64
    b: Float64
    rows: Indices
    columns: Indices

    def refined(
        self, i: Indices, j: Indices, tolerance: float, limit: int, portion: Portion
    ) -> _Found | None:
        """Solve, and take the pairs that are missed, until the bounds agree up to the tolerance."""
        best: _Found | None = None
        widest = 0.0
        for _ in range(_ROUNDS):
            i, j = self._of_mass(i, j)
            costs = self.lattice.squares(i, j)
            solution = sparse_simplex(
                limit,
                costs,
                np.searchsorted(self.rows, i),
                np.searchsorted(self.columns, j),
                self.a[self.rows],
                self.b[self.columns],
            )
            if solution.warning is not None:
                return None
            u, v = np.full((2, self.lattice.size), -np.inf)
            u[self.rows], v[self.columns] = solution.u, solution.v
            found, missed = self._checked(solution, u, v, tolerance)
            gap = found.most - found.least
            if best is None or gap < best.most - best.least:
                best = found
            widest = max(widest, gap)
            portion(1.0 if found.proved else 1.0 - gap / widest)
            if found.proved or len(missed[0]) == 0:
                break
            near = costs - u[i] - v[j] <= _NEAR
            i = np.concatenate([i[near], missed[0]])
            j = np.concatenate([j[near], missed[1]])
            i, j = _distinct(i, j, self.lattice.size)
        return best

    def _of_mass(self, i: Indices, j: Indices) -> tuple[Indices, Indices]:
        used = (self.a[i] > 0) & (self.b[j] > 0)
        return i[used], j[used]

    def _checked(
        self, solution: SparseSolution, u: Float64, v: Float64, tolerance: float
    ) -> tuple[_Found, tuple[Indices, Indices]]:
        """Both bounds, and the pairs that the potentials miss."""
        rows, columns = self.rows[solution.rows], self.columns[solution.columns]
        most = float(self.lattice.squares(rows, columns) @ solution.masses)
        f, to = self._conjugate(v, self.rows)
        phi, _ = self._conjugate(f, self.columns)
        least = float(self.a[self.rows] @ f[self.rows] + self.b[self.columns] @ phi[self.columns])
        own, come = self._conjugate(u, self.columns)
        late, early = (
            self.rows[u[self.rows] > f[self.rows]],
            self.columns[v[self.columns] > own[self.columns]],
        )
        i, j = self.lattice.with_neighbours(late, to[late])
        k, other = self.lattice.with_neighbours(early, come[early])
        allowed = tolerance * most + (_OF_SIDE * float(self.a.sum()) if tolerance > 0 else 0.0)
        found = _Found(rows, columns, least, most, f, phi, most - least <= allowed)
        return found, (np.concatenate([i, other]), np.concatenate([j, k]))

    def _conjugate(self, values: Float64, where: Indices) -> tuple[Float64, Indices]:
        """The transform at the points `where`, −∞ at others."""
        least, at = self.lattice.conjugate(values)
        kept = np.full_like(least, -np.inf)
        kept[where] = least[where]
        return kept, at


def _distinct(i: Indices, j: Indices, size: int) -> tuple[Indices, Indices]:
    rows, columns = np.divmod(np.unique(i * size + j), size)
    return rows, columns
