"""The finite volumes of the phase-space PDE: order, mass, sign, the bound on the step, the velocities."""

import numpy as np
import pytest

from solvers._kernels import finite_volume
from solvers.phase_space.density import PhaseSpaceGrid
from solvers.phase_space.pde import LIMITERS, PhaseSpacePDE, _Stage
from tests.helpers.line_measures import EPS, Interaction, fitted_order


def rotated(masses, limiter, revolutions):
    """Masses on [−1, 1]² carried round by θ̇ = −2πu, u̇ = 2πθ, by the kernels and Heun's method at 0.9 of the bound."""
    n, code = len(masses), LIMITERS.index(limiter)
    centers = (np.arange(n) + 0.5) * 2 / n - 1
    down = np.tile(-2 * np.pi * centers * n / 2, (n + 1, 1))
    right = np.tile(2 * np.pi * centers[:, None] * n / 2, (1, n + 1))
    dt = 0.9 / finite_volume.largest_loss_rate(0.0, np.ones((n, n)), down, right)
    steps = int(np.ceil(revolutions / dt))
    rates, least = np.empty((n, n)), 0.0
    for _ in range(steps):
        finite_volume.mass_rates(code, 0.0, masses, down, right, rates)
        predicted = masses + revolutions / steps * rates
        finite_volume.mass_rates(code, 0.0, predicted, down, right, rates)
        masses = 0.5 * (masses + predicted + revolutions / steps * rates)
        least = min(least, predicted.min(), masses.min())
    return masses, least, steps


def bump(n):
    theta, u = np.meshgrid(*2 * [(np.arange(n) + 0.5) * 2 / n - 1], indexing="ij")
    masses = np.maximum(1 - ((theta - 0.3) ** 2 + u**2) / 0.36, 0) ** 4
    return masses / masses.sum()


@pytest.mark.parametrize(("limiter", "order"), [("mc", 2), ("minmod", 2), ("upwind", 1)])
def test_a_smooth_bump_is_turned_by_a_quarter_at_the_schemes_order(limiter, order):
    cells = [40, 80, 160]
    errors = [np.abs(rotated(bump(n), limiter, 0.25)[0] - np.rot90(bump(n))).sum() for n in cells]
    assert fitted_order(cells, errors) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("limiter", LIMITERS)
def test_a_turned_block_keeps_its_mass_and_its_sign(limiter):
    masses = np.zeros((24, 24))
    masses[9:15, 12:19] = 1 / 42
    turned, least, steps = rotated(masses, limiter, 1.0)
    assert least >= 0.0
    # Each step adds to every cell four fluxes, which cancel over the grid, with a rounding each.
    assert abs(turned.sum() - 1.0) <= 4 * EPS * steps


@pytest.mark.parametrize("limiter", LIMITERS)
def test_no_mass_turns_negative_at_the_bound_on_the_step(limiter):
    rng = np.random.default_rng(0)
    for _ in range(200):
        m = rng.exponential(size=(6, 7)) ** 4 * (rng.uniform(size=(6, 7)) < 0.7)
        down, right = 10 * rng.standard_normal((7, 7)), 10 * rng.standard_normal((6, 8))
        diffusion = float(rng.exponential())
        dt = (1 - 1e-12) / finite_volume.largest_loss_rate(diffusion, m, down, right)
        rates = np.empty_like(m)
        finite_volume.mass_rates(LIMITERS.index(limiter), diffusion, m, down, right, rates)
        assert (m + dt * rates).min() >= 0.0
        assert rates.sum() == pytest.approx(0.0, abs=1e-12 * np.abs(rates).sum())


def test_the_bound_on_the_step_is_reached():
    """The slope at m = 1 between 0 and 4 is 2: its face towards 4 shows 2, and v = 1 empties the cell by the time ½."""
    m = np.zeros((4, 6))
    m[1, 2:4] = 1.0, 4.0
    right = np.zeros((4, 7))
    right[1, 3] = 1.0
    rates = np.empty_like(m)
    assert finite_volume.largest_loss_rate(0.0, m, np.zeros((5, 6)), right) == 2.0
    finite_volume.mass_rates(LIMITERS.index("mc"), 0.0, m, np.zeros((5, 6)), right, rates)
    assert m[1, 2] + 0.5 * rates[1, 2] == 0.0


@pytest.mark.parametrize("shape", [(9, 12), (12, 36), (36, 12)], ids=["1:1", "3:1", "1:3"])
def test_velocities_are_those_of_the_law_of_all_cells(shape):
    """g± summed over every cell (i, j) as a particle at θ_i ± u_j, at the middle of every face."""
    pde = PhaseSpacePDE(0.7, cells=shape, domain=((-1, 2), (-1.1, 1.9)))
    grid = PhaseSpaceGrid.covering(pde.domain, shape)
    m = np.random.default_rng(0).exponential(size=shape)
    m /= m.sum()
    theta, u = np.meshgrid(grid.theta_centers, grid.u_centers, indexing="ij")

    def velocity(theta_at, u_at):
        g = [
            Interaction()
            .gradient(
                (theta + s * u).reshape(-1, 1), m.ravel(), (theta_at + s * u_at).reshape(-1, 1)
            )
            .reshape(theta_at.shape)
            for s in (1, -1)
        ]
        return -0.35 * (g[0] + g[1]), 0.35 * (g[0] - g[1]) - 2 * u_at

    stage = _Stage(pde, Interaction(), grid, m)
    h_theta, h_u = grid.spacings
    assert sorted(grid.strides) == [1, 3 if shape[0] != 9 else 1]
    on_rows = np.meshgrid(grid.theta_edges, grid.u_centers, indexing="ij")
    on_columns = np.meshgrid(grid.theta_centers, grid.u_edges, indexing="ij")
    assert np.allclose(stage.down * h_theta, velocity(*on_rows)[0], rtol=0, atol=1e-13)
    assert np.allclose(stage.right * h_u, velocity(*on_columns)[1], rtol=0, atol=1e-13)
