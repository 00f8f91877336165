"""W2 between densities on a grid: its bounds against closed forms and the network simplex, and input that is refused."""

import numpy as np
import pytest
from scipy.special import ndtr

from solvers import Grid, transport
from solvers.grid_transport import distance
from solvers.measures.quantile_functions import Pieces, squared_distance


def axes(cells, dimension=2, length=6.0):
    return (np.linspace(-length, length, cells + 1),) * dimension


def normal(edges, means, spreads):
    masses = np.array(1.0)
    for axis, m, s in zip(edges, means, spreads, strict=True):
        masses = np.multiply.outer(masses, np.diff(ndtr((axis - m) / s)))
    return Grid(edges, masses / masses.sum())


def of_product(x, y):
    """W2 of product densities: the sum of the axes' squares, in closed form."""
    total = 0.0
    for k, axis in enumerate(x.edges):
        rest = tuple(j for j in range(x.dimension) if j != k)
        pieces = [Pieces.of(g.masses.sum(axis=rest), axis[:-1], axis[1:]) for g in (x, y)]
        total += squared_distance(*pieces)
    return np.sqrt(total)


def box(edges, low, high):
    """The uniform density on the cells with centers between two corners."""
    inside = np.array(1.0)
    for axis, a, b in zip(edges, low, high, strict=True):
        c = 0.5 * (axis[1:] + axis[:-1])
        inside = np.multiply.outer(inside, ((c > a) & (c < b)).astype(float))
    return Grid(edges, inside / inside.sum())


@pytest.mark.parametrize("cells", [24, 48])
def test_normal_laws(cells):
    edges = axes(cells)
    x, y = normal(edges, (-0.5, 0.3), (0.6, 0.7)), normal(edges, (0.7, -0.2), (0.8, 0.9))
    found, exact = transport.w2(x, y), of_product(x, y)
    assert found.converged and found.plan is None and found.discretization_error == 0.0
    assert found.distance - found.gap <= exact <= found.distance
    assert found.gap <= 0.35 * (12 / cells) ** 2 * exact
    back = transport.w2(y, x)
    assert back.distance - back.gap <= exact <= back.distance


@pytest.mark.slow
def test_normal_laws_that_turn():
    """Covariances that do not commute, between cells of equal size: the closed form of Olkin and Pukelsheim, up to the cells."""
    edges = axes(48, length=5.0)
    c = 0.5 * (edges[0][1:] + edges[0][:-1])
    points = np.stack(np.meshgrid(c, c, indexing="ij"), axis=-1)

    def law(covariance, mean):
        z = points - mean
        masses = np.exp(-0.5 * np.einsum("ijk,kl,ijl->ij", z, np.linalg.inv(covariance), z))
        return Grid(edges, masses / masses.sum())

    a, b = np.array([[1.0, 0.5], [0.5, 0.6]]), np.array([[0.7, -0.3], [-0.3, 1.1]])
    x, y = law(a, [0.3, 0.0]), law(b, [-0.3, 0.2])
    roots = np.sqrt(np.linalg.eigvals(a @ b).real).sum()
    exact = np.sqrt(0.36 + 0.04 + np.trace(a) + np.trace(b) - 2 * roots)
    found = transport.w2(x, y)
    assert found.gap < 0.007 and found.distance == pytest.approx(exact, abs=0.007)


@pytest.mark.parametrize("shift", [(1, 0), (12, 5)])
def test_shifts_by_cells(shift):
    edges = axes(48)
    x = box(edges, (-5.0, -4.0), (-2.0, 0.6))
    y = Grid(edges, np.roll(x.masses, shift, axis=(0, 1)))
    found, exact = transport.w2(x, y), 0.25 * np.hypot(*shift)
    assert found.distance == pytest.approx(exact, rel=1e-9)
    assert found.gap <= 0.02 + 0.5 * exact * (exact < 0.3)


def test_boxes_of_two_sizes():
    """The map is affine: |mean|² and the differences of the standard deviations, side/√12."""
    edges = axes(48)
    x, y = box(edges, (-4.0, -3.0), (-2.0, 0.0)), box(edges, (0.0, -1.0), (4.0, 1.0))
    exact = np.sqrt(25 + 1.5**2 + (2.0 / np.sqrt(12)) ** 2 + (1.0 / np.sqrt(12)) ** 2)
    found = transport.w2(x, y)
    assert found.distance - found.gap <= exact <= found.distance * (1 + 1e-12)
    assert found.gap < 0.01 * exact


def test_against_the_network_simplex():
    """Random densities on 7 × 6 cells; with 4 × 4 points in the place of each cell, W2 differs by at most √2 h/(4 √3)."""
    rng = np.random.default_rng(0)
    edges = np.linspace(0.0, 7.0, 8), np.linspace(0.0, 6.0, 7)
    x, y = (Grid(edges, rng.dirichlet(np.ones(42)).reshape(7, 6)) for _ in range(2))
    fine = tuple((axis[:-1, None] + (np.arange(4) + 0.5) / 4).ravel() for axis in edges)
    points = np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = [np.repeat(np.repeat(g.masses, 4, 0), 4, 1).ravel() / 16 for g in (x, y)]
    by_points = transport.w2(points, points, *weights).distance
    found, allowed = transport.w2(x, y), np.sqrt(2) / (4 * np.sqrt(3))
    assert found.distance - found.gap - allowed <= by_points <= found.distance + allowed
    assert found.gap < 0.35


def test_three_dimensions():
    edges = axes(16, dimension=3)
    x = normal(edges, (-0.5, 0.3, 0.0), (0.9, 0.8, 1.0))
    y = normal(edges, (0.7, -0.2, 0.5), (0.8, 1.0, 1.0))
    found, exact = transport.w2(x, y), of_product(x, y)
    assert found.distance - found.gap <= exact <= found.distance
    assert found.gap < 0.35 * exact


def test_a_density_and_itself_are_one():
    x = normal(axes(20), (0.0, 0.0), (1.0, 2.0))
    found = transport.w2(x, x)
    assert found.distance == 0.0 == found.gap


@pytest.mark.slow
def test_a_ring_and_a_disc_of_holes():
    """Vacuum on both sides: the bounds agree with each other."""
    edges = axes(32, length=2.0)
    c = 0.5 * (edges[0][1:] + edges[0][:-1])
    r = np.hypot(*np.meshgrid(c, c, indexing="ij"))
    ring, disc = (((r > a) & (r < b)).astype(float) for a, b in ((1.0, 1.5), (0.0, 0.7)))
    x, y = Grid(edges, ring / ring.sum()), Grid(edges, disc / disc.sum())
    found = transport.w2(x, y)
    # Radial: the quantiles of r², of [1, 2.25] and [0, 0.49]; circles of cells differ from circles by O(h).
    p = (np.arange(10_000) + 0.5) / 10_000
    exact = np.sqrt(np.mean((np.sqrt(1 + 1.25 * p) - np.sqrt(0.49 * p)) ** 2))
    assert found.gap < 0.03 and found.distance == pytest.approx(exact, abs=0.03)


def askew():
    """One heap, and two in its place that Newton's method does not do."""
    edges = axes(16, length=4.0)
    one, other = (normal(edges, m, (0.5, 0.5)).masses for m in ((-2.1, 1.0), (1.7, -1.6)))
    return normal(edges, (0.0, 0.0), (0.5, 0.5)), Grid(edges, 0.6 * one + 0.4 * other)


@pytest.mark.slow
@pytest.mark.essential
def test_one_heap_to_two_is_certified():
    """With 2 × 2 points in the place of each cell, W2 is no shorter, and differs by at most √2 h/(2 √3)."""
    x, y = askew()
    found, by_points = transport.w2(x, y), refined(x, y, 2)
    assert found.converged and found.gap < 1e-3 * found.distance
    allowed = np.sqrt(2) * 0.5 / (2 * np.sqrt(3))
    assert found.distance - found.gap <= by_points <= found.distance + allowed
    back = transport.w2(y, x)
    assert back.distance == pytest.approx(found.distance, abs=max(found.gap, back.gap))


def refined(x, y, parts):
    """W2 by POT's network simplex between points, parts per axis in the place of each cell, which is no less than W2."""
    fine = tuple(
        np.linspace(a[0], a[-1], (len(a) - 1) * parts, endpoint=False) + (a[1] - a[0]) / parts / 2
        for a in x.edges
    )
    points = np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1).reshape(-1, x.dimension)
    weights = []
    for masses in (x.masses, y.masses):
        for axis in range(x.dimension):
            masses = np.repeat(masses, parts, axis) / parts
        weights.append(masses.ravel())
    some = [w > 1e-9 for w in weights]
    clouds = [points[s] for s in some]
    kept = [w[s] / w[s].sum() for w, s in zip(weights, some, strict=True)]
    return transport.w2(*clouds, *kept).distance


@pytest.mark.slow
@pytest.mark.essential
def test_what_is_not_certified_is_refused_with_both_bounds():
    """With a single pivot the simplex finds no plan, and with little memory it is not tried."""
    x, y = askew()
    by_points = refined(x, y, 2)
    few = {"larger max_iterations": {"max_iterations": 1}, "max_bytes of": {"max_bytes": 5 * 10**7}}
    for remedy, option in few.items():
        told = f"the distance is between .* and .*; give a {remedy}"
        with pytest.raises(transport.TransportError, match=told):
            transport.w2(x, y, **option)
        found = transport.w2(x, y, require_convergence=False, **option)
        assert not found.converged and found.gap > 1e-2
        assert found.distance - found.gap <= by_points <= found.distance + 0.1


def test_other_grids_are_compared_as_points():
    x = normal(axes(6), (0.0, 0.0), (2.0, 2.0))
    y = normal(axes(5), (0.5, 0.0), (2.0, 2.0))
    found = transport.w2(x, y)
    assert found.plan.shape == (36, 25) and found.discretization_error > 0


def test_what_needs_too_much_is_refused_with_the_amount():
    x, y = (normal(axes(20), (m, 0.0), (1.0, 2.0)) for m in (0.0, 1.0))
    with pytest.raises(ValueError, match=r"max_bytes must be at least .* on 20 × 20 cells"):
        transport.w2(x, y, max_bytes=1000)
    with pytest.raises(ValueError, match="a must be None where x is a Grid, which has its own"):
        transport.w2(x, y, a=np.ones(400) / 400)
    with pytest.raises(ValueError, match="y must have dimension 2, as x, got 3"):
        transport.w2(x, normal(axes(4, 3), (0,) * 3, (1,) * 3))


@pytest.mark.slow
def test_speckle_is_enclosed_within_a_part_of_a_cell():
    """Independent random cells, of which W2 is about one: with 3 × 3 points in the place of each cell W2 is no shorter, and
    longer by at most √(h²/9 · 2/12) per grid.
    """
    edges, draw, h = axes(16, length=8.0), np.random.default_rng(0), 1.0
    x, y = (Grid(edges, part / part.sum()) for part in draw.exponential(size=(2, 16, 16)))
    found, by_points = transport.w2(x, y), refined(x, y, 3)
    least = found.distance - found.gap
    assert found.converged and found.distance**2 - least**2 < 0.5 * h**2
    assert least <= by_points <= found.distance + 2 * np.sqrt(h**2 / 54)


@pytest.mark.slow
def test_the_bounds_of_two_methods_are_both_kept(monkeypatch):
    """Where Newton's method leaves mass out of place, and the simplex does not."""
    x, y = askew()
    pairs, both = [], distance.both
    monkeypatch.setattr(distance, "_HOPELESS", np.inf)
    monkeypatch.setattr(distance, "both", lambda *given: pairs.append(given) or both(*given))
    found = transport.w2(x, y)
    ((newton, simplex),) = pairs
    assert found.converged and simplex.most < newton.most and not newton.converged
    least, most = max(newton.least, simplex.least), simplex.most
    assert found.distance**2 == pytest.approx(most, rel=1e-12)
    assert (found.distance - found.gap) ** 2 == pytest.approx(least, rel=1e-12)
