"""Minimising movements on regular grids by exact transport."""

import numpy as np
import pytest
from scipy.optimize import brentq, linprog

from solvers.grid_transport.multigrid import Multigrid
from solvers.jko.grid import steps
from solvers.jko.grid.steps import GridJKO
from solvers.jko.proximal_result import JKOError
from solvers.measures.energies import (
    Congestion,
    Domain,
    Entropy,
    Functional,
    Interaction,
    Potential,
    PowerEntropy,
)
from solvers.measures.representations import Grid

HARMONIC = Potential(lambda x: 0.5 * np.sum(x**2, axis=1))
ATTRACTION = Interaction(lambda r: 0.5 * np.sum(r**2, axis=1))
WELLS = Potential(lambda x: 2 * (x[:, 0] ** 2 - 1) ** 2)


def gaussian(dimension, cells, scale=1.0, half=6.0):
    edges = (np.linspace(-half, half, cells + 1),) * dimension
    return Grid.from_density(edges, lambda x: np.exp(-0.5 * np.sum((x / scale) ** 2, axis=1)), 3)


def cap(dimension, cells, half=4.0):
    """(4 − |x − e|²)₊: a density with a front."""
    edges = (np.linspace(-half, half, cells + 1),) * dimension
    return Grid.from_density(edges, lambda x: np.maximum(4 - np.sum((x - 0.5) ** 2, axis=1), 0), 4)


ENERGIES = {
    "heat": Entropy(0.5),
    "wells": WELLS + Entropy(0.5),
    "power 2": PowerEntropy(2.0),
    "power 3": PowerEntropy(3.0) + HARMONIC,
    "fast diffusion": PowerEntropy(0.6) + HARMONIC,
    "both": PowerEntropy(2.0) + Entropy(0.1) + HARMONIC,
    "attraction": ATTRACTION + Entropy(0.1),
    "log": Interaction(lambda r: 0.5 * r[:, 0] ** 2 - np.log(np.abs(r[:, 0]))) + Entropy(0.1),
    "potential": HARMONIC,
    "aggregation": ATTRACTION,
    "crowd": Congestion(0.6) + HARMONIC,
    "crowd with diffusion": Congestion(0.6) + HARMONIC + Entropy(0.1),
    "hole": HARMONIC + PowerEntropy(2.0) + Domain(lambda x: np.abs(x[:, 0] - 3) > 0.3),
}


@pytest.mark.parametrize("name", ENERGIES)
def test_every_step_is_certified(name):
    """From a density with vacuum: mass to rounding, no negative cell, E + D/2τ ≤ E before, near the minimum."""
    grid, energy = cap(1, 80), ENERGIES[name]
    for _ in range(3):
        step = GridJKO(0.1).step(energy, grid)
        grid = step.state
        assert abs(grid.masses.sum() - 1.0) < 1e-12 and grid.masses.min() >= 0.0
        assert step.converged and step.excess <= 1e-10 and step.transport_cost >= 0.0
        share = 1e-4 if name == "crowd" else 1e-6
        assert 0 <= step.gap <= share * (step.energy_before - step.energy) + 1e-8
        if "crowd" in name:
            assert grid.density.max() <= 0.6 * (1 + 1e-3)
        if name == "hole":
            assert grid.masses[np.abs(grid.centers[0] - 3) <= 0.3].sum() == 0.0


@pytest.mark.parametrize(
    ("cells", "step_size", "energy"),
    [
        (61, 0.05, PowerEntropy(2.0)),
        (48, 0.1, ATTRACTION + PowerEntropy(2.0)),
    ],
)
def test_steps_in_the_plane(cells, step_size, energy):
    """Two of them the entropic scheme does not solve to its tolerance."""
    step = GridJKO(step_size).step(energy, cap(2, cells))
    assert step.converged and step.excess < 0
    assert step.gap <= 1e-6 * (step.energy_before - step.energy)


@pytest.mark.parametrize("cells", [64, pytest.param(512, marks=pytest.mark.slow)])
def test_the_work_per_cell_does_not_grow(cells, monkeypatch):
    """At most 8 multigrid cycles on the grid itself, though fronts are ever finer: with equations solved to the size of the
    residual, from a coarse solution of a gap of 1e-2, they were 60 of 512² cells."""
    counts, cycle = [], Multigrid.__call__

    def counted(self, r):
        counts.append(len(r))
        return cycle(self, r)

    monkeypatch.setattr(Multigrid, "__call__", counted)
    step = GridJKO(0.1).step(PowerEntropy(2.0), cap(2, cells))
    assert step.converged and step.gap <= 1e-6 * (step.energy_before - step.energy)
    assert counts.count(cells) <= 8


@pytest.mark.parametrize("bounded", [False, True])
def test_a_tiny_step_is_a_linear_program(bounded):
    """min Σ P (|x − y|²/2τ + V(y)) from 60 points per cell, the density of which is linear, to ρ ≤ bound, by SciPy's HiGHS.

    A point in place of a 60th of a cell: the value errs by (h/60)²/(24τ), a mass by a 60th of a cell's.
    """
    grid, tau, bound = gaussian(1, 8, 1.0, 2.0), 0.3, 0.42
    energy = Potential(lambda x: 0.7 * (x[:, 0] - 0.4) ** 2)
    if bounded:
        energy = energy + Congestion(bound)
    step = GridJKO(tau, tolerance=1e-9).step(energy, grid)
    centers, h = grid.centers[0], 0.5
    padded = np.pad(grid.masses, 1, mode="edge")
    left, right = np.diff(padded)[:-1], np.diff(padded)[1:]
    central = np.minimum(2 * np.minimum(abs(left), abs(right)), 0.5 * abs(left + right))
    slopes = np.where(left * right > 0, np.sign(left) * central, 0.0) / 2 / grid.masses
    xi = (np.arange(60) + 0.5) / 30 - 1
    points = (centers[:, None] + 0.5 * h * xi).ravel()
    weights = (grid.masses[:, None] * (1 + slopes[:, None] * xi) / 60).ravel()
    costs = (points[:, None] - centers) ** 2 / (2 * tau) + 0.7 * (centers - 0.4) ** 2
    rows = np.repeat(np.eye(len(points)), 8, axis=1)
    columns = np.tile(np.eye(8), (1, len(points)))
    limit = np.full(8, bound * h if bounded else 1.0)
    found = linprog(costs.ravel(), A_eq=rows, b_eq=weights, A_ub=columns, b_ub=limit)
    own = h**2 / (24 * tau)
    value = step.energy + step.transport_cost / (2 * tau)
    assert value == pytest.approx(found.fun - own, abs=1e-4)
    masses = found.x.reshape(-1, 8).sum(axis=0)
    np.testing.assert_allclose(step.state.masses, masses, rtol=0, atol=grid.masses.max() / 30)


@pytest.mark.parametrize(("dimension", "cells"), [(1, 64), (2, 24), (3, 10)])
def test_no_flux_through_the_boundary(dimension, cells):
    """cos(πx) on the unit box decays by 1/(1 + τλ) a step, λ = 4 sin²(πh/2)/h² the eigenvalue of the cells' Laplacian.

    Exact to the first order in the amplitude, 1e-2, whose square is left.
    """
    edges = (np.linspace(0, 1, cells + 1),) * dimension
    wave = np.cos(np.pi * 0.5 * (edges[0][1:] + edges[0][:-1]))
    wave = wave.reshape(-1, *(1,) * (dimension - 1))
    masses = (1 + 1e-2 * wave) * np.ones((cells,) * dimension) / cells**dimension
    step = GridJKO(0.02, tolerance=1e-10).step(Entropy(), Grid(edges, masses))
    amplitude = 2 * np.mean(step.state.density * wave)
    rate = 4 * np.sin(0.5 * np.pi / cells) ** 2 * cells**2
    assert amplitude == pytest.approx(1e-2 / (1 + 0.02 * rate), rel=1e-3)


def test_ornstein_uhlenbeck_is_of_second_order_in_the_cells():
    """One step between Gaussians: s' (1 + τ) − τ/s' = s; errors of the variance at h, h/2 in the ratio 4."""
    errors = []
    for cells in (40, 80, 160):
        start = gaussian(1, cells, 1.5, 8.0)
        s, tau = np.sqrt(start.covariance()[0, 0]), 0.1
        expected = (s + np.sqrt(s**2 + 4 * tau * (1 + tau))) / (2 * (1 + tau))
        state = GridJKO(tau, tolerance=1e-10).step(HARMONIC + Entropy(), start).state
        errors.append(abs(np.sqrt(state.covariance()[0, 0]) - expected))
    order = np.log2(errors[0] / errors[2]) / 2
    assert 1.6 < order < 3.2 and errors[2] < 1e-3


def test_a_separable_flow_is_two_on_the_line():
    x, y = gaussian(1, 30, 1.2), gaussian(1, 30, 0.8)
    plane = Grid((*x.edges, *y.edges), np.multiply.outer(x.masses, y.masses))
    energy = HARMONIC + Entropy()
    step = GridJKO(0.05, tolerance=1e-11).step(energy, plane)
    ends = [GridJKO(0.05, tolerance=1e-11).step(energy, grid).state.masses for grid in (x, y)]
    # the slopes between the axes are those of the plane
    np.testing.assert_allclose(step.state.masses, np.multiply.outer(*ends), rtol=0, atol=2e-5)


@pytest.mark.parametrize("dimension", [1, 2])
def test_mutual_attraction_is_a_potential_about_the_mean(dimension):
    grid = gaussian(dimension, 32, 1.2)
    by_pairs = GridJKO(0.1, tolerance=1e-10).step(ATTRACTION + Entropy(0.5), grid)
    alone = GridJKO(0.1, tolerance=1e-10).step(HARMONIC + Entropy(0.5), grid)
    np.testing.assert_allclose(by_pairs.state.masses, alone.state.masses, rtol=0, atol=1e-6)


def test_a_functional_by_its_first_variation():
    """½ (∫ f dμ)², f = x²/2, acts at the minimum as the potential f ∫ f dμ of the new μ."""

    def feature(points):
        return 0.5 * points[:, 0] ** 2

    square = Functional(
        lambda points, masses: 0.5 * (masses @ feature(points)) ** 2,
        lambda points, masses: feature(points) * (masses @ feature(points)),
    )
    scheme, grid = GridJKO(0.1, tolerance=1e-10), gaussian(1, 60, 1.2)
    step = scheme.step(square + Entropy(), grid)
    moment = step.state.masses @ feature(grid.points)
    frozen = scheme.step(Potential(lambda x: moment * feature(x)) + Entropy(), grid)
    np.testing.assert_allclose(step.state.masses, frozen.state.masses, rtol=0, atol=1e-6)


def test_around_a_hole_what_is_at_rest_stays_and_what_is_not_goes_there():
    """At rest 2ρ + |x|²/2 = C outside the hole. From elsewhere ten steps leave a fraction 1/(1 + 0.2)¹⁰ = 0.16 of the way."""
    edges = (np.linspace(-3, 3, 25),) * 2
    points = Grid(edges, np.full((24, 24), 1 / 24**2)).points
    inside = np.sum((points - 0.6) ** 2, axis=1) < 1.0

    def at_rest(level):
        pressure = level - 0.5 * np.sum(points**2, axis=1)
        return np.where(inside, 0.0, np.maximum(pressure, 0.0) / 2).reshape(24, 24) * 0.25**2

    level = brentq(lambda c: at_rest(c).sum() - 1, 0.0, 10.0)
    rest = at_rest(level)
    hole = Domain(lambda x: np.sum((x - 0.6) ** 2, axis=1) >= 1.0)
    scheme, energy = GridJKO(0.2, tolerance=1e-3), HARMONIC + PowerEntropy(2.0) + hole
    still = scheme.step(energy, Grid(edges, rest / rest.sum()))
    np.testing.assert_allclose(still.state.masses, rest, rtol=0, atol=1e-12)
    start = np.where(inside, 0.0, np.exp(-2 * np.sum((points + 0.7) ** 2, axis=1)))
    grid = Grid(edges, (start / start.sum()).reshape(24, 24))
    away = [np.abs(grid.masses - rest).sum()]
    for _ in range(10):
        grid = scheme.step(energy, grid).state
        away.append(np.abs(grid.masses - rest).sum())
    assert np.all(np.diff(away) < 0) and away[-1] < 0.25 * away[0]
    assert grid.masses.ravel()[inside].sum() == 0.0 and abs(grid.masses.sum() - 1) < 1e-12


@pytest.mark.slow
def test_the_number_of_iterations_does_not_grow_with_the_grid():
    counts = [GridJKO(0.1).step(PowerEntropy(2.0), cap(2, n)).iterations for n in (32, 64, 128)]
    assert max(counts) <= counts[0] + 6


def test_stationary_states_stay():
    uniform = Grid((np.linspace(0, 1, 21),) * 2, np.full((20, 20), 1 / 400))
    step = GridJKO(0.1).step(Entropy(), uniform)
    np.testing.assert_allclose(step.state.masses, uniform.masses, rtol=0, atol=1e-12)
    assert step.transport_cost == pytest.approx(0, abs=1e-14)


def test_an_iteration_limit_raises_with_the_remedies():
    with pytest.raises(
        JKOError, match=r"a gap of .* a larger max_iterations .* a larger tolerance"
    ):
        GridJKO(0.1, max_iterations=1, tolerance=1e-13).step(WELLS + Entropy(), gaussian(1, 40))
    lax = GridJKO(0.1, max_iterations=1, tolerance=1e-13, require_convergence=False)
    step = lax.step(WELLS + Entropy(), gaussian(1, 40))
    assert not step.converged and abs(step.state.masses.sum() - 1) < 1e-12


def test_the_entropic_scheme_names_its_tolerance():
    scheme = GridJKO(0.1, method="entropic", max_iterations=3)
    with pytest.raises(JKOError, match=r"give method='exact' .* a larger tolerance than 1.0e-04"):
        scheme.step(HARMONIC + Entropy(), gaussian(1, 40))


@pytest.mark.parametrize(
    ("cells", "step_size", "energy"),
    [
        (61, 0.05, PowerEntropy(2.0)),
        (48, 0.1, ATTRACTION + PowerEntropy(2.0)),
        (40, 0.1, HARMONIC + Entropy()),
    ],
)
def test_by_default_an_entropic_step_is_as_good_as_its_decrease_of_energy_needs(
    cells, step_size, energy
):
    """E + S_ε/2τ is within 1e-3 of the decrease of that of a step whose residual is 1e-7, in fewer iterations."""
    grid = cap(2, cells)
    default = GridJKO(step_size, method="entropic").step(energy, grid)
    fine = GridJKO(step_size, method="entropic", tolerance=1e-7).step(energy, grid)
    assert default.converged and default.excess < 0
    assert abs(default.excess - fine.excess) <= 1e-3 * (fine.energy_before - fine.energy)
    assert default.iterations < fine.iterations


def test_at_rest_an_entropic_step_asks_for_no_less_than_rounding_allows():
    uniform = Grid(np.linspace(0, 1, 21), np.full(20, 1 / 20))
    step = GridJKO(0.1, method="entropic").step(Entropy(), uniform)
    assert step.converged and step.residual <= 1e-9
    np.testing.assert_allclose(step.state.masses, uniform.masses, rtol=0, atol=1e-9)


def test_a_crowd_runs_to_the_wall_and_piles_up():
    """Density ½ on [1, 3] that moves to the wall at 0 at speed 1, at most 1: from t = 1 on the pile grows at speed 1 too, as
    ½ arrives and ½ is there. At t = 1.5 density 1 on [0, ½] and ½ on [½, 1½]."""
    edges = np.linspace(0, 4, 81)
    centers = 0.5 * (edges[1:] + edges[:-1])
    start = np.where((centers > 1) & (centers < 3), 1.0, 0.0)
    grid = Grid(edges, start / start.sum())
    crowd = Potential(lambda x: x[:, 0]) + Congestion(1.0)
    for _ in range(15):
        grid = GridJKO(0.1).step(crowd, grid).state
    exact = 0.5 * (centers < 1.5) + 0.5 * (centers < 0.5)
    assert grid.density.max() < 1 + 1e-3
    # blurred by no more than a cell at each of the two jumps, of ½
    assert np.abs(grid.density - exact).sum() * 0.05 < 2 * 0.5 * 0.05
    assert grid.mean()[0] == pytest.approx(0.5 * 0.25 + 0.5 * 1.0, abs=0.01)


def test_the_method_is_exact_where_it_can_be():
    stretched = Grid(np.array([0.0, 1.0, 3.0, 4.0]), np.full(3, 1 / 3))
    assert np.isnan(GridJKO(0.1, 3.0).step(HARMONIC, gaussian(1, 8)).gap)
    assert np.isfinite(GridJKO(0.1).step(HARMONIC, gaussian(1, 8)).gap)
    with pytest.raises(ValueError, match="cells must be of one size for the method 'exact'"):
        GridJKO(0.1, method="exact").step(HARMONIC, stretched)


def test_a_blow_up_is_reported():
    """Attraction by a logarithm, of twice the critical strength in the plane: all mass goes to a point."""
    energy = Entropy() + Interaction(lambda r: 8 * 0.5 * np.log(np.sum(r**2, axis=1)))
    grid = gaussian(2, 24, 0.5, 2.0)
    with pytest.raises(JKOError, match="concentrates on .* cells in spite of diffusion"):
        for _ in range(20):
            grid = GridJKO(0.05).step(energy, grid).state


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: GridJKO(0.0), "step_size must be .*got 0.0"),
        (lambda g: GridJKO(None), "step_size must be a finite number above 0, got None"),
        (lambda g: GridJKO(0.1, learning_rate=None), "learning_rate must be .*got None"),
        (
            lambda g: GridJKO(0.1).step(Interaction(lambda r: r[:, 0] * np.nan), g),
            "function must be finite at the differences of cell centers",
        ),
        (lambda g: GridJKO(0.1, method="best"), "method must be one of 'exact', 'entropic'"),
        (lambda g: GridJKO(0.1, 1.0, method="exact"), "regularization must be None"),
        (lambda g: Grid(g.edges, -g.masses), "masses must be at least 0"),
        (lambda g: Grid(g.edges, g.masses * np.nan), "masses must be finite"),
        (
            lambda g: GridJKO(0.1).step(Domain(lambda x: x[:, 0] > 0), g),
            "grid must have no mass outside the domain, got 0.5 of 1",
        ),
        (
            lambda g: GridJKO(0.1).step(Domain(lambda x: x), g),
            "inside must be a function to 40 booleans",
        ),
        (
            lambda g: GridJKO(0.1).step(Congestion(0.2), g),
            "grid must have densities of at most the bound 0.2",
        ),
        (
            lambda g: GridJKO(0.1).step(Congestion(0.05), g),
            "bound must be above 0.0833333, so that the domain holds",
        ),
        (
            lambda g: GridJKO(0.1, method="entropic").step(Congestion(1.0), g),
            "energy must have no constraints for the method 'entropic'",
        ),
        (
            lambda g: GridJKO(0.1).step(PowerEntropy(0.3), gaussian(3, 4)),
            r"exponent must be above 1 − 2/d = 0.3333 in 3 dimensions, got 0.3",
        ),
        (
            lambda g: GridJKO(0.1, method="entropic").step(Entropy(), gaussian(3, 4)),
            "grid must have 1 or 2 dimensions for the method 'entropic', got 3",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(gaussian(1, 40))


def test_a_grid_too_large_for_memory_is_refused_with_the_amount(monkeypatch):
    monkeypatch.setattr(steps, "available_memory", lambda: 10_000)
    for method in ("exact", "entropic"):
        with pytest.raises(ValueError, match=r"got 20 × 20 cells: a step takes 0.000\d+ GB, 1e-05"):
            GridJKO(0.1, method=method).step(Entropy(), gaussian(2, 20))


def test_matrices_too_large_for_memory_are_refused_with_the_amount(monkeypatch):
    """Of all pairs of 50,000 cells on a line: 2e9 times four numbers."""
    monkeypatch.setattr("solvers._support.memory.available_memory", lambda: 10**10)
    line = gaussian(1, 50_000)
    with pytest.raises(ValueError, match=r"got 50000 cells along an axis: its arrays take 80 GB"):
        GridJKO(0.1, method="entropic").step(Entropy(), line)
    attraction = Interaction(lambda r: 0.5 * np.sum(r**2, axis=1))
    with pytest.raises(ValueError, match=r"on a line with an Interaction: its arrays take 80 GB"):
        GridJKO(0.1).step(attraction, line)
