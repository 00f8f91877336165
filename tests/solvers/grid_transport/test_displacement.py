"""Displacements on a grid against motions in closed form."""

import numpy as np
import pytest

from solvers.grid_transport.displacement import Displacement
from solvers.jko.grid.steps import GridJKO
from solvers.measures.energies import Entropy, Potential
from solvers.measures.representations import Grid


def box(dimension, cells, half=4.0):
    return (np.linspace(-half, half, cells + 1),) * dimension


def sides(grid):
    return tuple(float(axis[1] - axis[0]) for axis in grid.edges)


def gaussian(edges, mean=0.0, scale=0.7):
    return Grid.from_density(
        edges, lambda x: np.exp(-0.5 * np.sum(((x - mean) / scale) ** 2, axis=1)), 4
    )


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_quadratic_potential_scales(dimension):
    """φ = −|y|²/2 and τ: y has come by −τ y, and half as far again it comes to y − τ y/2."""
    grid, tau = gaussian(box(dimension, 48 if dimension < 3 else 24), 0.1), 0.4
    phi = -0.5 * np.sum(grid.points**2, axis=1).reshape(grid.masses.shape)
    moved = Displacement.of_potential(sides(grid), phi, tau).continued(grid.masses, 0.5)
    assert moved.sum() == pytest.approx(1.0, abs=1e-14) and moved.min() >= 0.0
    end = Grid(grid.edges, moved)
    h = sides(grid)[0]
    assert end.mean() == pytest.approx(np.full(dimension, 0.8 * 0.1), abs=0.02 * h)
    variances = 0.64 * (np.diagonal(grid.covariance()) - h * h / 12) + h * h / 12
    assert np.diagonal(end.covariance()) == pytest.approx(variances, abs=0.2 * h * h)


def test_moving_on_is_of_second_order_in_the_cells():
    """Of a smooth density by a third of a wave, in the plane, against the same on three times as many cells."""

    def moved(cells):
        grid = gaussian(box(2, cells), [0.3, -0.2])
        x, y = grid.points.T
        phi = (0.5 * np.sin(x) * np.cos(0.7 * y)).reshape(grid.masses.shape)
        return Displacement.of_potential(sides(grid), phi, 0.6).continued(grid.masses, 1 / 3)

    reference, errors = moved(432), []
    for cells in (36, 72):
        k = 432 // cells
        sums = reference.reshape(cells, k, cells, k).sum(axis=(1, 3))
        errors.append(np.abs(moved(cells) - sums).sum())
    assert np.log2(errors[0] / errors[1]) > 1.7


def test_displacements_compose():
    """s = a y after d' = b y': d = a y + b y'/2 with y' = y − d, so d = (a + b/2)/(1 + b/2) y."""
    grid, a, b = gaussian(box(2, 32)), 0.1, 0.3
    squares = np.sum(grid.points**2, axis=1).reshape(grid.masses.shape)
    s, earlier = (Displacement.of_potential(sides(grid), 0.5 * squares, c) for c in (a, b))
    found = s.after(earlier, 0.5).squares
    rate, inner = (a + b / 2) / (1 + b / 2), (slice(4, -4),) * 2
    h = sides(grid)[0]
    assert found[inner] == pytest.approx(rate**2 * (squares + 0.5 * h * h)[inner], rel=1e-3)


def test_nothing_passes_a_wall():
    edges = box(1, 40)
    grid = Grid(edges, np.full(40, 1 / 40))
    push = Displacement.of_potential(sides(grid), 3.0 * grid.centers[0], 1.0)
    moved = push.continued(grid.masses, 0.5)
    assert moved.sum() == pytest.approx(1.0, abs=1e-14) and moved[0] < 1e-12 < moved[-1]


HARMONIC = Potential(lambda x: 0.5 * np.sum(x**2, axis=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda grid, step: GridJKO(0.1, method="entropic").step(HARMONIC, grid, step),
            "earlier must be None for the method 'entropic', got a step; use method='exact'",
        ),
        (
            lambda grid, step: GridJKO(0.1).step(HARMONIC, grid, grid),
            "earlier must be a GridStep, got .*; the step that led to the grid",
        ),
        (
            lambda grid, step: GridJKO(0.1).step(HARMONIC, gaussian(box(1, 20)), step),
            r"earlier.state must have shape \(20,\), got \(40,\)",
        ),
        (
            lambda grid, step: GridJKO(0.1).step(HARMONIC, grid, step, 0.04),
            "earlier_step_size must be at least half of step_size = 0.1, got 0.04",
        ),
        (
            lambda grid, step: GridJKO(0.1).step(HARMONIC, grid, earlier_step_size=0.1),
            "earlier_step_size must be None where there is no earlier step",
        ),
    ],
)
def test_bad_arguments(call, message):
    grid = gaussian(box(1, 40))
    with pytest.raises(ValueError, match=message):
        call(grid, GridJKO(0.1).step(HARMONIC + Entropy(), grid))
