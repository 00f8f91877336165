"""Transport between points of a lattice, from coarse to fine: against POT's network simplex on all pairs, and closed forms."""

import numpy as np
import pytest

from solvers.measures.quantile_functions import Pieces
from solvers.measures.quantile_functions import squared_distance as on_the_line
from solvers.transport import grid_simplex
from solvers.transport._pot import ot

LIMIT = 10**9


def heap(points, *centers, deviation=0.5):
    squares = [np.sum((points - c) ** 2, axis=-1) for c in centers]
    return sum(np.exp(-s / (2 * deviation**2)) for s in squares)


def ring(points):
    r = np.linalg.norm(points, axis=-1)
    return ((r > 1.6) & (r < 2.6)).astype(float)


def square(points, center, half):
    return np.all(np.abs(points - center) < half, axis=-1).astype(float)


def holes(points):
    centers = ([0.0, 0.0], [1.5, 1.2], [-1.0, 1.8], [-1.8, -1.6])
    return np.min([np.sum((points - c) ** 2, axis=-1) > 0.36 for c in centers], axis=0)


SHAPES = {
    "one heap to two": lambda x, u: (heap(x, [0, 0]), heap(x, [-2.0, 0.8], [1.6, -1.4])),
    "two to three": lambda x, u: (heap(x, [-1, -2], [2, -2]), heap(x, [-2, 2], [0, 1], [2, 2])),
    "a ring to a heap": lambda x, u: (ring(x), heap(x, [0.3, 0.2])),
    "squares": lambda x, u: (
        square(x, [0, 0], 0.8),
        square(x, [2, 0], 0.7) + square(x, [-2, 1], 0.5),
    ),
    "around holes": lambda x, u: (
        holes(x) * (x[..., 0] < 0),
        holes(x) * heap(x, [1, -1], [-1, -1], deviation=1.0),
    ),
    "speckle": lambda x, u: (u[0] ** 8, u[1] ** 8),
    "scattered cells": lambda x, u: (u[0] * (u[0] > 0.95), u[1] * (u[1] > 0.95)),
    "disjoint": lambda x, u: (u[0] * (x[..., 0] < -1), u[1] * (x[..., 0] > 1)),
}


def lattice(*cells, length=3.0):
    axes = tuple((np.arange(n) - (n - 1) / 2) * (2 * length / max(cells)) for n in cells)
    return axes, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def masses(name, points, seed=0):
    pair = SHAPES[name](points, np.random.default_rng(seed).random((2, *points.shape[:-1])))
    return tuple(part / part.sum() for part in pair)


def on_all_pairs(points, a, b):
    flat = points.reshape(-1, points.shape[-1])
    (x, wx), (y, wy) = ((flat[w.ravel() > 0], w[w > 0]) for w in (a, b))
    costs = ot.dist(x, y)
    return float(ot.emd2(wx / wx.sum(), wy / wy.sum(), costs, numItermax=10**8))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("cells", [(24, 24), (25, 18), (10, 9, 7), (40, 2)])
def test_the_network_simplex_on_all_pairs(name, cells):
    if name in ("squares", "a ring to a heap") and len(cells) == 3:
        cells = (12, 12, 12)
    if cells == (40, 2):
        axes, points = lattice(*cells)
        a, b = np.random.default_rng(len(name)).dirichlet(np.ones(80), size=2).reshape(2, 40, 2)
    else:
        axes, points = lattice(*cells)
        flat = np.concatenate([points, np.zeros_like(points)], axis=-1)[..., : max(2, len(cells))]
        shape = flat if len(cells) == 2 else flat[..., :2] + 0.3 * points[..., 2:]
        a, b = masses(name, shape)
    expected = on_all_pairs(points, a, b)
    exact = grid_simplex.plan(axes, a, b, LIMIT, tolerance=0.0)
    assert exact.most == pytest.approx(expected, rel=1e-9)
    found = grid_simplex.plan(axes, a, b, LIMIT)
    side = np.mean([(x[1] - x[0]) ** 2 for x in axes])
    assert found.proved and found.most - found.least <= 3e-4 * found.most + 0.02 * side
    assert found.least * (1 - 1e-12) <= expected <= found.most * (1 + 1e-12)


def test_the_potentials_prove_the_bound():
    """Σ a f + Σ b φ is the lower bound, and no pair is cheaper than f + φ."""
    axes, points = lattice(20, 20)
    a, b = masses("one heap to two", points)
    found = grid_simplex.plan(axes, a, b, LIMIT)
    assert np.sum(a * found.f) + np.sum(b * found.phi) == pytest.approx(found.least, rel=1e-9)
    flat = points.reshape(-1, 2)
    costs = ot.dist(flat, flat)
    assert np.all(found.f.ravel()[:, None] + found.phi.ravel() <= costs + 1e-10)


def test_a_simplex_that_is_stopped_gives_nothing():
    axes, points = lattice(24, 24)
    assert grid_simplex.plan(axes, *masses("one heap to two", points), 1) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("cells", [64, 128])
def test_cells_of_large_grids_are_enclosed(name, cells):
    """Both bounds against each other and against the distances of the marginals, which are no longer."""
    edges = (np.linspace(-3.0, 3.0, cells + 1),) * 2
    _, points = lattice(cells, cells)
    a, b = masses(name, points)
    found = grid_simplex.squared_distance(edges, a, b, LIMIT)
    assert found.converged and 0 < found.least <= found.most
    rough = name in ("speckle", "scattered cells", "disjoint")
    assert found.least > found.most * (0.7 if rough else (1 - 1e-3) ** 2)
    of_axes = 0.0
    for axis in (0, 1):
        lines = [Pieces.of(m.sum(axis=1 - axis), edges[0][:-1], edges[0][1:]) for m in (a, b)]
        of_axes += on_the_line(*lines)
    assert of_axes <= found.most * (1 + 1e-9)


@pytest.mark.parametrize("cells", [32, pytest.param(256, marks=pytest.mark.slow)])
def test_a_heap_in_two_halves(cells):
    """Half of a normal law moves left, the other right, symmetric: the quantiles of the first axis alone, which is torn."""
    edges = (np.linspace(-6.0, 6.0, cells + 1),) * 2
    centers = 0.5 * (edges[0][1:] + edges[0][:-1])

    def normal(mean):
        part = np.exp(-((centers - mean) ** 2) / 0.5)
        return part / part.sum()

    one, two = normal(0.0), 0.5 * (normal(-2.5) + normal(2.5))
    a, b = np.outer(one, one), np.outer(two, one)
    lines = [Pieces.of(m, edges[0][:-1], edges[0][1:]) for m in (one, two)]
    exact = np.sqrt(on_the_line(*lines))
    found = grid_simplex.squared_distance(edges, a, b, LIMIT)
    least, most = np.sqrt([found.least, found.most])
    assert found.converged and least <= exact <= most and most - least < 1.2e-3 * exact
