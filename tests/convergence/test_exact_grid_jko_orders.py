"""Exact transport on grids: first order in the step size, against closed forms and an independent finite-volume scheme."""

import numpy as np
import pytest
from scipy.linalg import solve_banded
from scipy.optimize import brentq
from scipy.special import gamma

from solvers.jko.grid.steps import GridJKO
from solvers.jko.proximal_result import JKOError
from solvers.measures.energies import Entropy, Interaction, Potential, PowerEntropy
from solvers.measures.representations import Grid

pytestmark = [pytest.mark.slow, pytest.mark.essential]


class Barenblatt:
    """∂_t ρ = Δρ^m in d dimensions: ρ = t^(−dβ) (C − k |x|² t^(−2β))₊^(1/(m−1)), β = 1/(d(m − 1) + 2), k = β(m − 1)/(2m)."""

    def __init__(self, dimension, exponent):
        self.beta = 1 / (dimension * (exponent - 1) + 2)
        self.alpha, self.power = dimension * self.beta, 1 / (exponent - 1)
        self.k = self.beta * (exponent - 1) / (2 * exponent)
        q, half = self.power, dimension / 2

        def excess(c):
            ball = np.pi**half * gamma(q + 1) / gamma(q + 1 + half)
            return c ** (q + half) * self.k**-half * ball - 1

        self.c = brentq(excess, 1e-6, 1e3)

    def front(self, t):
        return np.sqrt(self.c / self.k) * t**self.beta

    def grid(self, edges, t, nodes=4):
        def density(x):
            squares = np.sum(x**2, axis=1) * t ** (-2 * self.beta)
            return t**-self.alpha * np.maximum(self.c - self.k * squares, 0.0) ** self.power

        return Grid.from_density(edges, density, nodes)


def end(step_size, energy, grid, time):
    """Every step is certified, and keeps the mass."""
    for _ in range(round(time / step_size)):
        step = GridJKO(step_size).step(energy, grid)
        assert step.converged and step.excess <= 1e-10
        grid = step.state
    assert abs(grid.masses.sum() - 1) < 1e-11
    return grid


def test_the_porous_medium_on_the_line():
    """To Barenblatt's solution in L1, from t = 1 to 2; `test_barenblatt` has finer grids, in the plane and in space."""
    edges, law, step_sizes = (np.linspace(-4, 4, 162),), Barenblatt(1, 2.0), [0.1, 0.05, 0.025]
    start, exact = (law.grid(edges, t) for t in (1.0, 2.0))
    ends = [end(step_size, PowerEntropy(2.0), start, 1.0) for step_size in step_sizes]
    errors = [np.abs(one.masses - exact.masses).sum() for one in ends]
    assert np.polyfit(np.log(step_sizes), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.15)
    front = np.abs(start.centers[0][ends[-1].density > 1e-3]).max()
    assert (
        abs(front - law.front(2.0)) < 1.5 * 8 / 161
    )  # half a cell between its center and its edge


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Ornstein-Uhlenbeck", "heat"])
def test_gaussians_in_the_plane(name):
    """Standard deviations of the exact solutions: errors like τ."""
    confined = name == "Ornstein-Uhlenbeck"
    bowl = Potential(lambda x: 0.5 * np.sum(x**2, axis=1) * confined)
    edges = (np.linspace(-8, 8, 97),) * 2
    start = Grid.from_density(edges, lambda x: np.exp(-0.5 * np.sum(x**2, axis=1) / 1.5**2), 3)
    s = start.covariance()[0, 0]
    exact = 1 + (s - 1) * np.exp(-2 * 0.4) if confined else s + 2 * 0.4
    errors = [
        abs(np.sqrt(end(tau, bowl + Entropy(), start, 0.4).covariance()[0, 0]) - np.sqrt(exact))
        for tau in (0.2, 0.1)
    ]
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.3)


def finite_volumes(edges, masses, potential, temperature, time, steps):
    """∂_t ρ = (ρ V')' + T ρ'' by the fluxes of Scharfetter and Gummel and the backward Euler rule, no flux at the ends."""
    x, h = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    drift = np.diff(potential(x[:, None])) / temperature
    with np.errstate(invalid="ignore"):
        forward = np.where(drift == 0, 1.0, drift / np.expm1(drift))
    backward = forward + drift
    rate = temperature / h**2
    banded = np.zeros((3, len(x)))
    banded[1] = 1.0
    dt = time / steps
    banded[1, :-1] += dt * rate * forward
    banded[1, 1:] += dt * rate * backward
    banded[0, 1:] = -dt * rate * backward
    banded[2, :-1] = -dt * rate * forward
    for _ in range(steps):
        masses = solve_banded((1, 1), banded, masses)
    return masses


def test_a_double_well_against_finite_volumes():
    """On 200 cells, 4,000 steps of the other scheme: what is left is the error in τ, of first order."""
    edges = np.linspace(-2.4, 2.4, 201)

    def wells(x):
        return (x[:, 0] ** 2 - 1) ** 2

    start = Grid.from_density(edges, lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2))
    exact = finite_volumes(edges, start.masses, wells, 0.5, 0.4, 4000)
    errors = [
        np.abs(end(tau, Potential(wells) + Entropy(0.5), start, 0.4).masses - exact).sum()
        for tau in (0.1, 0.05, 0.025)
    ]
    slope = np.polyfit(np.log([0.1, 0.05, 0.025]), np.log(errors), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.15)


def keller_segel(strength):
    """T = 1, W = (χ/2π) log|r|, critical at χ = 8π: d/dt ∫|x|² ρ = 4 − χ/(2π)."""
    return Entropy() + Interaction(lambda r: strength / (4 * np.pi) * np.log(np.sum(r**2, axis=1)))


@pytest.mark.slow
def test_keller_segel_below_the_critical_mass_spreads_by_the_virial_law():
    """χ = 4π: the second moment grows by 2 a unit of time. An implicit step errs by its own growth, τ · 2²/(4 m₂)."""
    edges = (np.linspace(-6, 6, 65),) * 2
    grid = Grid.from_density(edges, lambda x: np.exp(-0.5 * np.sum(x**2, axis=1)), 3)
    before = np.trace(grid.covariance())
    grid = end(0.02, keller_segel(4 * np.pi), grid, 0.4)
    assert np.trace(grid.covariance()) - before == pytest.approx(2 * 0.4, rel=0.03)


@pytest.mark.slow
def test_keller_segel_above_the_critical_mass_blows_up_and_says_so():
    """χ = 16π: the second moment falls by 4 a unit of time, so the solution ends before t = m₂/4."""
    edges = (np.linspace(-3, 3, 33),) * 2
    grid = Grid.from_density(edges, lambda x: np.exp(-2 * np.sum(x**2, axis=1)), 3)
    before, tau = np.trace(grid.covariance()), 0.01
    energy, times = keller_segel(16 * np.pi), 0
    for _ in range(3):
        grid = GridJKO(tau).step(energy, grid).state
        times += 1
    assert np.trace(grid.covariance()) - before == pytest.approx(-4 * times * tau, rel=0.1)
    with pytest.raises(JKOError, match="blow"):
        for _ in range(round(2 * before / 4 / tau)):
            grid = GridJKO(tau).step(energy, grid).state


@pytest.mark.slow
def test_aggregation_against_diffusion_comes_to_rest_in_a_parabola():
    """W = |r|²/2 and ρ²: 2ρ + |x|²/2 = C at rest. 50 steps at 64²."""
    edges = (np.linspace(-2.5, 2.5, 65),) * 2
    grid = Grid.from_density(edges, lambda x: np.exp(-3 * np.sum(x**2, axis=1)), 3)
    attraction = Interaction(lambda r: 0.5 * np.sum(r**2, axis=1))
    grid = end(0.2, attraction + PowerEntropy(2.0), grid, 10.0)
    radius = (8 / np.pi) ** 0.25
    exact = Grid.from_density(edges, lambda x: np.maximum(radius**2 - np.sum(x**2, axis=1), 0.0), 8)
    assert np.abs(grid.masses - exact.masses).sum() < 5e-3
