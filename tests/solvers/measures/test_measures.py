import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import norm

from solvers.measures.quantile_functions import integral, quantile
from solvers.measures.representations import Grid, Particles, Quantiles

EDGES = np.array([-1.0, 0.0, 0.5, 2.0])


def gaussian(points, scale=1.0):
    return np.exp(-0.5 * np.sum((points / scale) ** 2, axis=1))


def test_cell_masses_of_a_density_are_exact_for_polynomials():
    """Not uniform cells; ∫ x² (1 + x)² over each, by the antiderivative x³/3 + x⁴/2 + x⁵/5."""
    grid = Grid.from_density(EDGES, lambda x: 7 * (x[:, 0] * (1 + x[:, 0])) ** 2)
    antiderivative = EDGES**3 / 3 + EDGES**4 / 2 + EDGES**5 / 5
    expected = np.diff(antiderivative) / np.ptp(antiderivative)
    np.testing.assert_allclose(grid.masses, expected, rtol=1e-14)
    np.testing.assert_allclose(grid.density * grid.volumes, grid.masses, rtol=1e-15)


def test_in_the_plane_every_axis_is_its_own():
    x, y = np.linspace(-3, 4, 15), np.linspace(-5, 5, 33)
    grid = Grid.from_density((x, y), lambda p: gaussian(p, np.array([1.0, 2.0])))
    expected = np.multiply.outer(np.diff(ndtr(x)), np.diff(ndtr(y / 2)))
    np.testing.assert_allclose(grid.masses, expected / expected.sum(), rtol=0, atol=1e-13)
    assert grid.points[1].tolist() == [grid.centers[0][0], grid.centers[1][1]]
    np.testing.assert_allclose(grid.volumes, (0.5) * (10 / 32), rtol=1e-12)


def test_moments():
    """Of uniform pieces, against draws' closed forms: a box of sides (3, 1) has variances 9/12 and 1/12."""
    box = Grid((np.linspace(0, 3, 4), np.linspace(0, 1, 3)), np.full((3, 2), 1 / 6))
    np.testing.assert_allclose(box.mean(), [1.5, 0.5], rtol=1e-14)
    np.testing.assert_allclose(box.covariance(), np.diag([9 / 12, 1 / 12]), atol=1e-15)
    np.testing.assert_allclose(box.cell_variances(), [1 / 12, 0.25 / 12], rtol=1e-14)
    x, p = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0]]), np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(Particles(x, p).mean(), np.average(x, axis=0, weights=p))
    expected = np.cov(x.T, aweights=p, ddof=0)
    np.testing.assert_allclose(Particles(x, p).covariance(), expected, rtol=1e-14)
    uneven = Quantiles([0.0, 1.0, 4.0])  # half on [0, 1], half on [1, 4]
    assert uneven.mean()[0] == pytest.approx(1.5, rel=1e-15)
    second = 0.5 * (1 / 3) + 0.5 * (64 - 1) / 9
    assert uneven.covariance()[0, 0] == pytest.approx(second - 1.5**2, rel=1e-14)
    np.testing.assert_allclose(uneven.density, [0.5, 0.5 / 3], rtol=1e-15)
    assert Quantiles([1.0, 1.0, 2.0]).density[0] == np.inf


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=20),
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=10),
)
def test_quantiles_of_particles_invert_their_distribution_function(positions, levels):
    particles = Particles(positions)
    got = quantile(particles.pieces(), levels)
    x = np.sort(positions)
    # np.quantile rounds n·p; half a unit of the last place of it decides which of two neighbours is taken
    low = np.quantile(x, np.maximum(np.array(levels) - 1e-14, 0), method="inverted_cdf")
    high = np.quantile(x, np.minimum(np.array(levels) + 1e-14, 1), method="inverted_cdf")
    assert np.all((low <= got) & (got <= high))


def test_quantiles_of_a_grid_invert_its_distribution_function():
    """A gap in the middle: Q jumps over it, from the left end at the level itself."""
    grid = Grid([0.0, 1.0, 3.0, 4.0], [0.25, 0.0, 0.75])
    levels = [0.0, 0.125, 0.25, 0.25 + 1e-12, 0.625, 1.0]
    expected = [0.0, 0.5, 1.0, 3.0, 3.5, 4.0]
    np.testing.assert_allclose(quantile(grid.pieces(), levels), expected, atol=1e-11)
    # ∫_0^p Q: the triangle, the left cell's whole, and the mean
    np.testing.assert_allclose(
        integral(grid.pieces(), [0.125, 0.25, 1.0]),
        [0.125 * 0.25, 0.25 * 0.5, grid.mean()[0]],
        rtol=1e-14,
    )


def test_quantiles_of_a_measure_take_their_ends_from_the_tails_means():
    grid = Grid.from_density(np.linspace(-9, 9, 3601), gaussian)
    n = 500
    q = Quantiles.of(grid, n)
    # cells of width 0.005: quadratic interpolation of the distribution function, error h²/8 · x
    np.testing.assert_allclose(
        q.values[1:-1], norm.ppf(np.arange(1, n) / n), rtol=0, atol=2 * 0.005**2
    )
    end = norm.ppf(1 - 1 / n)
    assert 0.5 * (q.values[-1] + end) == pytest.approx(n * norm.pdf(end), abs=1e-4)
    assert q.covariance()[0, 0] == pytest.approx(1.0, abs=1 / n)
    assert Quantiles.of(Particles([2.0]), 3).values.tolist() == [2.0] * 4
    assert Quantiles.of(Grid([0.0, 2.0], [1.0]), 1).values.tolist() == [0.0, 2.0]


def test_a_grid_of_six_dimensions_is_refused_with_its_memory():
    """64⁶ cells of 8 bytes are 512 GiB."""
    with pytest.raises(ValueError, match=r"6-dimensional grid has 6\.87e\+10 cells, 512 GiB"):
        Grid.from_density((np.linspace(0, 1, 65),) * 6, gaussian)
    with pytest.raises(ValueError, match="use Particles instead"):
        Grid((np.linspace(0, 1, 3),) * 4, np.ones((2,) * 4) / 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Particles([]), r"positions must have shape .*got \(0, 1\)"),
        (lambda: Particles([0.0, np.nan]), "positions must be finite"),
        (lambda: Particles([0.0, 1.0], [0.5, 0.6]), "weights must be at least 0 and sum to 1"),
        (lambda: Particles([0.0, 1.0], [1.5, -0.5]), "weights must be at least 0 and sum to 1"),
        (lambda: Particles([0.0, 1.0], [1.0]), r"weights must have shape \(2,\), got \(1,\)"),
        (lambda: Grid([0.0], [1.0]), r"axis 0 of edges must have shape .*got \(1,\)"),
        (
            lambda: Grid([0.0, 1.0, 1.0], [0.5, 0.5]),
            "axis 0 of edges must be finite and increasing",
        ),
        (lambda: Grid([0.0, 1.0, 2.0], [1.5, -0.5]), "masses must be at least 0 and sum to 1"),
        (lambda: Grid([0.0, 1.0, 2.0], [np.nan, 1.0]), "masses must be finite"),
        (lambda: Grid([0.0, 1.0, 2.0], [0.0, 0.0]), "masses must be at least 0 and sum to 1"),
        (
            lambda: Grid((EDGES, EDGES), np.ones(9) / 9),
            r"masses must have shape \(3, 3\), got \(9,\)",
        ),
        (lambda: Grid.from_density(EDGES, lambda x: x[:, 0]), "function must be a density"),
        (lambda: Grid.from_density(EDGES, lambda x: 0 * x[:, 0]), "function must be a density"),
        (
            lambda: Grid.from_density(EDGES, lambda x: x),
            r"function's value must have shape \(24,\).*got \(24, 1\)",
        ),
        (lambda: Grid.from_density(EDGES, gaussian, nodes=0), "nodes must be .*got 0"),
        (lambda: Quantiles([0.0]), r"values must have shape .*got \(1,\)"),
        (lambda: Quantiles([0.0, np.inf]), "values must be finite"),
        (lambda: Quantiles([0.0, 2.0, 1.0]), "values must not decrease, got 2 followed by 1"),
        (lambda: Quantiles.of(Particles([0.0]), 0), "cells must be .*got 0"),
        (
            lambda: Quantiles.of(Particles([[0.0, 1.0]]), 5),
            "measure must have dimension 1 for quantiles, got 2",
        ),
        (
            lambda: quantile(Particles([0.0]).pieces(), [1.1]),
            "levels must be from 0 to 1, got values from 1.1 to 1.1",
        ),
    ],
)
def test_bad_measures(make, message):
    with pytest.raises(ValueError, match=message):
        make()
