"""Steps from densities with vacuum: fronts, gaps, and what spreads into them at once."""

import numpy as np
import pytest

from solvers.grid_transport.split import SplitTransport
from solvers.jko.grid.steps import GridJKO
from solvers.jko.proximal_result import JKOError
from solvers.jko.quantile.steps import QuantileJKO
from solvers.measures.energies import Entropy, Potential, PowerEntropy
from solvers.measures.representations import Grid, Quantiles
from tests.convergence.test_exact_grid_jko_orders import Barenblatt

UNIT = (0.0, 1.0)
EGGS = Potential(lambda x: np.sin(3 * np.pi * x[:, 0]) * np.sin(3 * np.pi * x[:, 1]))
CORNER = Potential(lambda x: 0.5 * np.sum((x - 0.9) ** 2, axis=1))


def disc(x):
    return (np.sum((x - 0.5) ** 2, axis=1) < 0.01).astype(float)


def squares(x):
    centers = np.array([[0.3, 0.3], [0.3, 0.7], [0.7, 0.3]])
    return np.any(np.max(np.abs(x[:, None] - centers), axis=2) < 0.1, axis=1).astype(float)


def on_the_unit_square(density, cells):
    return Grid.from_density((np.linspace(*UNIT, cells + 1),) * 2, density)


def on_the_unit_interval(density, cells):
    return Grid.from_density((np.linspace(*UNIT, cells + 1),), lambda x: density(x[:, 0]) * 1.0)


@pytest.mark.parametrize("cells", [32, pytest.param(128, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("density", "energy", "step_size"),
    [
        (disc, PowerEntropy(2.0, 0.05) + EGGS, 0.005),
        (disc, PowerEntropy(2.0, 0.05) + EGGS, 0.00125),
        (squares, PowerEntropy(2.0, 0.02) + CORNER, 0.1),
        (squares, PowerEntropy(3.0, 0.01) + EGGS, 0.02),
    ],
)
def test_a_density_that_jumps_beside_vacuum(density, energy, step_size, cells):
    """Newton's method used to stop here; the gap bounds by how much the minimum is missed, by weak duality."""
    step = GridJKO(step_size).step(energy, on_the_unit_square(density, cells))
    assert step.converged and step.excess < 0
    assert 0 <= step.gap <= 1e-6 * (step.energy_before - step.energy)
    assert abs(step.state.masses.sum() - 1.0) < 1e-12 and step.state.masses.min() >= 0.0


@pytest.mark.parametrize(
    "energy",
    [
        Entropy(0.1),
        Entropy(0.05) + PowerEntropy(2.0, 0.05),
        Entropy(0.05) + Potential(lambda x: np.cos(7 * x[:, 0])),
    ],
)
def test_diffusion_into_vacuum_is_that_of_quantiles(energy):
    """Least value of E + W²/2τ from a uniform density of width 0.2: errs by h² on the grid, by 1/n with n quantiles, whose last
    cell of mass ends the tails. Extrapolated both differ by less than a thousandth of the decrease."""
    tau, on_grid, by_quantiles = 0.001, [], []
    for n in (500, 1000):
        grid = on_the_unit_interval(lambda x: np.abs(x - 0.5) < 0.1, n)
        step = GridJKO(tau).step(energy, grid)
        on_grid.append(step.energy + step.transport_cost / (2 * tau))
        other = QuantileJKO(tau).step(energy, Quantiles(np.linspace(0.4, 0.6, n + 1)))
        by_quantiles.append(other.energy + other.transport_cost / (2 * tau))
        decrease = step.energy_before - on_grid[-1]
    found = (4 * on_grid[1] - on_grid[0]) / 3
    expected = 2 * by_quantiles[1] - by_quantiles[0]
    assert abs(found - expected) < 1e-3 * decrease


@pytest.mark.parametrize("energy", [Entropy(0.1), PowerEntropy(0.8, 0.05), PowerEntropy(0.6, 0.05)])
@pytest.mark.parametrize(
    "density",
    [
        lambda x: np.abs(x - 0.5) < 0.1,
        lambda x: (np.abs(x - 0.3) < 0.1) | (np.abs(x - 0.8) < 0.02),
        lambda x: np.abs(x - 0.5) < 0.001,
    ],
    ids=["box", "two boxes", "one cell"],
)
@pytest.mark.parametrize("step_size", [0.001, 0.05])
def test_diffusion_into_vacuum_takes_few_iterations(density, energy, step_size):
    """About ten on each of seven levels; they were 110 to 861 in all, or the step failed."""
    step = GridJKO(step_size).step(energy, on_the_unit_interval(density, 1001))
    assert step.converged and step.iterations <= 80
    assert step.gap <= 1e-6 * (step.energy_before - step.energy)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_a_front_in_space_takes_few_iterations(exponent):
    """About ten on all levels of 64³ cells; a step cut short by what is out of its reach must not stay as short."""
    edges = (np.linspace(-2.2, 2.2, 65),) * 3
    step = GridJKO(0.25).step(PowerEntropy(exponent), Barenblatt(3, exponent).grid(edges, 1.0, 4))
    assert step.converged and step.iterations <= 20


@pytest.mark.parametrize("shape", [(40,), (12, 9), (6, 5, 7)])
def test_a_rise_by_the_slack_changes_no_transform(shape):
    """Σ μ φ^c is that before, at random potentials and densities with vacuum; masses move by rounding only."""
    random = np.random.default_rng(5)
    centers = tuple(0.3 * (np.arange(n) + 0.5) for n in shape)
    for amplitude in (0.01, 0.1, 1.0):
        masses = random.exponential(size=shape) * (random.random(shape) < 0.3)
        transport = SplitTransport(centers, masses / masses.sum(), 0.2)
        phi = amplitude * random.standard_normal(shape)
        before, pushed, slack = transport.transform(phi), transport.push(), transport.slack()
        assert np.all(slack >= 0) and np.all(slack[pushed > 1e-12] == 0) and slack.max() > 0
        assert transport.transform(phi + slack) == pytest.approx(before, abs=1e-13)
        np.testing.assert_allclose(transport.push(), pushed, rtol=0, atol=1e-10)


def test_the_slack_is_the_distance_to_the_second_transform():
    """On the line: min over points x where there is mass of (x − y)²/2τ − min_k [(x − y_k)²/2τ − φ_k], here by 200 points a cell,
    less φ. Between points that function errs by its slope, at most 10, times their distance."""
    random = np.random.default_rng(3)
    y, tau, per_cell = 0.3 * (np.arange(40) + 0.5), 0.2, 200
    masses = random.exponential(size=40) * (random.random(40) < 0.3)
    phi = 0.3 * random.standard_normal(40)
    transport = SplitTransport((y,), masses / masses.sum(), tau)
    transport.transform(phi)
    inside = (np.arange(per_cell + 1) / per_cell - 0.5) * 0.3
    x = (y[masses > 0][:, None] + inside).ravel()
    costs = (x[:, None] - y) ** 2 / (2 * tau)
    expected = np.min(costs - np.min(costs - phi, axis=1)[:, None], axis=0) - phi
    slope = np.abs(x[:, None] - y).max() / tau
    np.testing.assert_allclose(transport.slack(), expected, rtol=0, atol=slope * 0.3 / per_cell)


def test_diffusion_into_vacuum_in_the_plane_names_the_method_that_can():
    """The heat equation from a disc: the variance grows by 2 T τ = 0.0002, up to the blur of the regularisation, of which
    debiasing leaves less than a quarter of a cell's square."""
    energy, grid = Entropy(0.1), on_the_unit_square(disc, 64)
    with pytest.raises(JKOError, match="give method='entropic', a larger"):
        GridJKO(0.001, max_iterations=20).step(energy, grid)
    step = GridJKO(0.001, method="entropic").step(energy, grid)
    grown = step.state.covariance() - grid.covariance()
    assert step.excess < 0
    assert np.diag(grown) == pytest.approx(2e-4, abs=0.25 / 64**2)
