"""Grids of the phase-space PDE, and the laws on them as particles."""

import numpy as np
import pytest

from solvers.phase_space.density import PhaseSpaceDensity, PhaseSpaceGrid
from solvers.phase_space.pde import PhaseSpacePDE
from tests.helpers.line_measures import EPS, Interaction, Quadratic, block, hump


@pytest.mark.parametrize("cells", [(20, 20), (13, 40), (40, 13), (7, 100)])
def test_a_grid_covers_its_domain_with_little_to_spare(cells):
    domain = ((-1.0, 2.0), (-0.5, 0.8))
    grid = PhaseSpaceGrid.covering(domain, cells)
    assert grid.shape == cells
    p, q = grid.strides
    assert min(p, q) == 1 and max(p, q) % 2 == 1
    widened = []
    for (low, high), edges in zip(domain, (grid.theta_edges, grid.u_edges), strict=True):
        assert edges[0] <= low + 1e-12 and edges[-1] >= high - 1e-12
        assert edges[0] + edges[-1] == pytest.approx(low + high)
        widened.append((edges[-1] - edges[0]) / (high - low))
    assert min(widened) == pytest.approx(1.0) and max(widened) <= np.sqrt(3) + 1e-12


def test_particles_are_deposited_with_their_mass_and_their_means():
    rng = np.random.default_rng(0)
    risk, eta, x0 = Interaction(), 0.6, rng.uniform(-0.5, 0.9, (200, 1))
    u0 = 0.5 * eta * risk.gradient(x0)
    density = PhaseSpacePDE(eta, cells=(24, 24)).start(risk, x0)
    assert density.masses.sum() == pytest.approx(1.0, abs=200 * EPS)
    assert density.mean_center == pytest.approx(np.mean(x0 - u0), abs=1e-14)
    mean_u = density.masses.sum(axis=0) @ density.grid.u_centers
    assert mean_u == pytest.approx(np.mean(u0), abs=1e-14)
    # Each cloud is at most as wide as a cell: it adds h²/4 to the second moment, or less.
    excess = density.fluctuation_trace - np.mean(u0**2)
    assert 0 <= excess <= density.grid.spacings[1] ** 2 / 4


def test_equal_particles_at_rest_have_a_grid_too():
    density = PhaseSpacePDE(1.0, cells=(8, 8)).start(Quadratic(1.0), np.zeros(3))
    assert density.mean_center == pytest.approx(0.0, abs=1e-15)


def test_particles_of_a_law_converge_to_it():
    """Means over n of them against those over a million cells of the same density, at the rate of low-discrepancy points."""
    pde = PhaseSpacePDE(1.0, cells=(12, 20), domain=((-1, 1), (-1, 1)))
    density = pde.start(Quadratic(1.0), hump((0.1, 0.2), (0.8, 0.7)))

    def test_function(theta, u):
        return np.cos(3 * theta + u) + u**2 * theta

    fine = 64  # Gauss–Legendre would be exact within a cell; the midpoints of 64² parts of it err by (h/64)²
    theta, u = (
        np.linspace(e[0], e[-1], fine * (len(e) - 1) + 1)
        for e in (density.theta_edges, density.u_edges)
    )
    theta, u = 0.5 * (theta[1:] + theta[:-1]), 0.5 * (u[1:] + u[:-1])
    cellwise = test_function(theta[:, None], u).reshape(12, fine, 20, fine).mean(axis=(1, 3))
    exact = np.sum(density.masses * cellwise)
    sizes, errors = [64, 1024, 16384], []
    for n in sizes:
        centers, fluctuations = density.particles(n)
        assert centers.shape == fluctuations.shape == (n, 1)
        errors.append(abs(np.mean(test_function(centers, fluctuations)) - exact))
        assert errors[-1] <= 2 * np.log(n) / n
    assert np.all(np.diff(density.particles(64)[0][:, 0]) >= 0)


def test_marginals_are_sums_of_masses():
    density = PhaseSpacePDE(1.0, cells=(8, 24), domain=((-1, 1), (-1, 1))).start(
        Quadratic(1.0), block
    )
    theta, u = density.theta_marginal(), density.u_marginal()
    assert np.allclose(theta.masses, density.masses.sum(axis=1), rtol=1e-14)
    assert np.allclose(u.masses, density.masses.sum(axis=0), rtol=1e-14)
    assert np.array_equal(u.edges[0], density.u_edges)


@pytest.mark.parametrize(
    ("theta_edges", "u_edges", "masses", "message"),
    [
        (
            np.linspace(0, 1, 4),
            np.linspace(0, 1, 9),
            np.full((3, 8), 1 / 24),
            r"theta_edges must have shape .*got \(4,\)",
        ),
        (
            np.arange(9.0) ** 2,
            np.arange(9.0),
            np.full((8, 8), 1 / 64),
            "theta_edges must increase by equal distances, got .* 1 to 15",
        ),
        (np.arange(9.0), np.arange(9.0) / 2, np.full((8, 8), 1 / 64), "odd multiple"),
        (
            np.arange(9.0),
            np.arange(9.0),
            np.full((8, 7), 1 / 56),
            r"masses must have shape \(8, 8\), got \(8, 7\)",
        ),
        (
            np.arange(9.0),
            np.arange(9.0),
            np.full((8, 8), 1 / 63),
            "masses must be at least 0 and sum to 1, got .* a sum of 1.01",
        ),
        (np.arange(9.0), np.arange(9.0), np.full((8, 8), np.nan), "masses must be finite"),
    ],
)
def test_bad_densities(theta_edges, u_edges, masses, message):
    with pytest.raises(ValueError, match=message):
        PhaseSpaceDensity(theta_edges, u_edges, masses)


@pytest.mark.parametrize("height", [1e-8, 1e-10, 1e-16, 1e-300])
def test_fluctuations_far_smaller_than_the_weights_are_no_grid(height):
    """The lattice of θ ± u would need memory, or numbers, that there are not."""
    with pytest.raises(ValueError, match="theta_edges, u_edges must have spacings"):
        PhaseSpaceGrid.covering(((-1.0, 1.0), (-height, height)), (16, 16))
    assert PhaseSpaceGrid.covering(((-1.0, 1.0), (-1e-4, 1e-4)), (16, 16)).shape == (16, 16)
