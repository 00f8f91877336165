"""Wasserstein gradient flows with known solutions, by both exact-in-class quantiles and entropic transport on grids.

Jordan, Kinderlehrer & Otto 1998 (Ornstein–Uhlenbeck, heat); Barenblatt 1952, Vázquez 2007 (porous medium); Carrillo & Toscani
2000 (its confined steady state); Carrillo, Ferreira & Precioso 2012, Fellner & Raoul 2010 (aggregation with repulsion); Mei,
Montanari & Nguyen, arXiv:1804.06561 (mean-field Langevin dynamics of a two-layer network)."""

from functools import partial

import numpy as np
import pytest
from scipy.optimize import brentq

from solvers import transport
from solvers.jko.grid import steps
from solvers.jko.quantile.steps import QuantileJKO
from solvers.measures.energies import Entropy, Functional, Interaction, Potential, PowerEntropy
from solvers.measures.representations import Grid, Quantiles

GridJKO = partial(steps.GridJKO, method="entropic", tolerance=1e-9)
HARMONIC = Potential(
    lambda x: 0.5 * np.sum(x**2, axis=1),
    lambda x: x,
    lambda x: np.tile(np.eye(x.shape[1]), (len(x), 1, 1)),
)
ATTRACTION = Interaction(
    lambda r: 0.5 * r[:, 0] ** 2, lambda r: r, lambda r: np.ones((len(r), 1, 1))
)
#: σ(1) of dσ²/dt = 2 − 2σ², σ(0) = 2; and the scheme's errors, to the digits given.
OU_SPREAD = np.sqrt(1 + 3 * np.exp(-2))
OU_ERRORS = {0.1: 0.0243, 0.05: 0.0124, 0.025: 0.0063}


def run(scheme, energy, measure, time):
    """The measure at the end; every step is certified and keeps the mass."""
    for _ in range(round(time / scheme.step_size)):
        step = scheme.step(energy, measure)
        assert step.excess <= 1e-9 and step.converged
        measure = step.state
        if isinstance(measure, Grid):
            assert abs(measure.masses.sum() - 1) < 1e-14 and measure.masses.min() >= 0
    return measure


def point_gaussian(edges, scale):
    """On a line or a square, masses ∝ the density at the centers."""
    cells = len(edges[0]) - 1
    grid = Grid(edges, np.full([cells] * len(edges), cells ** -len(edges)))
    masses = np.exp(-0.5 * np.sum((grid.points / scale) ** 2, axis=1)).reshape(grid.masses.shape)
    return Grid(edges, masses / masses.sum())


def spread(grid):
    return np.sqrt(np.diagonal(grid.covariance()) - grid.cell_variances())


def gaussian_steps(s, step_size, steps, stiffness=1.0, temperature=1.0):
    """s' minimises ½ k s'² − T log s' + (s' − s)²/2τ: s' (1 + τk) − τT/s' = s."""
    for _ in range(steps):
        k, t = 1 + stiffness * step_size, temperature * step_size
        s = (s + np.sqrt(s**2 + 4 * t * k)) / (2 * k)
    return s


@pytest.mark.parametrize("step_size", OU_ERRORS)
def test_ornstein_uhlenbeck_by_quantiles(step_size):
    rest = Quantiles(np.linspace(-2, 2, 101))
    for _ in range(3):
        rest = QuantileJKO(1e9, tolerance=1e-9).step(HARMONIC + Entropy(), rest).state
    end = run(QuantileJKO(step_size), HARMONIC + Entropy(), Quantiles(2 * rest.values), 1.0)
    s = np.sqrt(end.covariance()[0, 0])
    assert abs(OU_SPREAD - 1.1857512) < 5e-8
    assert s - OU_SPREAD == pytest.approx(OU_ERRORS[step_size], abs=5e-5)
    assert s == pytest.approx(gaussian_steps(2.0, step_size, round(1 / step_size)), abs=1e-10)


@pytest.mark.parametrize("step_size", OU_ERRORS)
def test_ornstein_uhlenbeck_on_a_grid(step_size):
    """Cells of 0.14: ε = 2h² = 0.04 errs by (ε/s²)²/32 ≤ 3e-5 in the metric, and so below that in s."""
    start = point_gaussian((np.linspace(-14, 14, 201),), 2.0)
    s = spread(run(GridJKO(step_size), HARMONIC + Entropy(), start, 1.0))[0]
    assert s - OU_SPREAD == pytest.approx(OU_ERRORS[step_size], abs=5e-5)
    assert s == pytest.approx(gaussian_steps(2.0, step_size, round(1 / step_size)), abs=1e-5)


def test_ornstein_uhlenbeck_in_the_plane():
    """V = x²/2 + y², T = ½, from widths (1.4, 0.7): each axis obeys its own recursion, ε = 0.18 errs by (ε/s²)²/32 of the way."""
    bowl = Potential(lambda x: 0.5 * x[:, 0] ** 2 + x[:, 1] ** 2)
    start = point_gaussian((np.linspace(-7.5, 7.5, 51),) * 2, np.array([1.4, 0.7]))
    end = run(GridJKO(0.1), bowl + Entropy(0.5), start, 0.5)
    expected = [gaussian_steps(1.4, 0.1, 5, 1.0, 0.5), gaussian_steps(0.7, 0.1, 5, 2.0, 0.5)]
    error = (0.18 / 0.5**2) ** 2 / 32 * (0.7 - expected[1])
    np.testing.assert_allclose(spread(end), expected, rtol=0, atol=abs(error))
    cross = end.covariance()[0, 1]
    assert abs(cross) < 1e-9


def test_the_heat_equation_in_the_plane():
    """Variance 1 + 2t in every direction, each step s' − τ/s' = s; ε = 2h² = 0.18 errs by ε²/32 of the way, and τ by 5 %."""
    start = point_gaussian((np.linspace(-9, 9, 61),) * 2, 1.0)
    end = run(GridJKO(0.05), Entropy(), start, 0.25)
    expected = gaussian_steps(1.0, 0.05, 5, 0.0)
    np.testing.assert_allclose(spread(end), expected, rtol=0, atol=0.18**2 / 32 * (expected - 1))
    np.testing.assert_allclose(spread(end) ** 2, 1.5, rtol=0.05)


class Barenblatt:
    """∂_t ρ = Δρ² on the line: ρ = t^(−1/3) (C − x² t^(−2/3)/12)₊, of mass (4/3) √12 C^(3/2)."""

    C = (3 / (4 * np.sqrt(12))) ** (2 / 3)

    @classmethod
    def distribution(cls, x, t):
        end = np.sqrt(12 * cls.C)
        xi = np.clip(x * t ** (-1 / 3), -end, end)
        return cls.C * (xi + end) - (xi**3 + end**3) / 36

    @classmethod
    def grid(cls, edges, t):
        return Grid(edges, np.diff(cls.distribution(edges, t)))

    @classmethod
    def quantiles(cls, n, t):
        end = np.sqrt(12 * cls.C) * t ** (1 / 3)
        inner = [
            brentq(lambda x, p=i / n: cls.distribution(x, t) - p, -end, end) for i in range(1, n)
        ]
        return Quantiles([-end, *inner, end])


def test_the_porous_medium():
    """From t = 1 to 2, where the support has grown by 2^(1/3): first order in τ, and the two schemes agree below that error.

    n quantiles err at the front, where the density vanishes, by the share 1/n times the square of a cell's width n^(−1/2), so by
    1/n in W2; the grid by some h² there.
    """
    edges = np.linspace(-4, 4, 121)
    fine = Barenblatt.grid(np.linspace(-4, 4, 4001), 2.0)
    start = Barenblatt.quantiles(400, 1.0)
    ends = [run(QuantileJKO(tau), PowerEntropy(2.0), start, 1.0) for tau in (0.2, 0.1)]
    errors = [transport.w2(end, fine).distance for end in ends]
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.2)
    on_grid = run(GridJKO(0.1), PowerEntropy(2.0), Barenblatt.grid(edges, 1.0), 1.0)
    assert transport.w2(on_grid, ends[1]).distance < 0.2 * errors[1]
    far = np.abs(on_grid.centers[0]) > 1.1 * np.sqrt(12 * Barenblatt.C) * 2 ** (1 / 3)
    assert on_grid.masses[far].sum() < 1e-6  # a front, not a tail


def test_the_confined_porous_medium_rests_in_a_parabola():
    """2ρ + x²/2 = C where ρ > 0: ρ = (R² − x²)/4, R³ = 3, whatever attracts: a potential, or each other."""
    radius = 3 ** (1 / 3)

    def distribution(x):
        x = np.clip(x, -radius, radius)
        return (radius**2 * (x + radius) - (x**3 + radius**3) / 3) / 4

    edges = np.linspace(-2.5, 2.5, 51)
    start = Grid.from_density(edges, lambda x: np.exp(-2 * x[:, 0] ** 2))
    for confinement in (HARMONIC, ATTRACTION):
        end = run(GridJKO(1.0), confinement + PowerEntropy(2.0), start, 6.0)
        # second order in h, first at the two cells with the front
        assert np.abs(end.masses - np.diff(distribution(edges))).sum() < 0.1**2
        state = run(
            QuantileJKO(1.0), confinement + PowerEntropy(2.0), Quantiles.of(start, 60), 12.0
        )
        levels = distribution(state.values[1:-1])
        np.testing.assert_allclose(levels, np.arange(1, 60) / 60, rtol=0, atol=1e-3)


def test_repulsion_by_the_distance_spreads_evenly():
    """W = x²/2 − |x|: quantiles obey q̇ = 2p − 1 − (q − mean), and a step is its backward Euler step; at rest, [−1, 1] evenly."""
    kernel = Interaction(
        lambda r: 0.5 * r[:, 0] ** 2 - np.abs(r[:, 0]),
        lambda r: r - np.sign(r),
        lambda r: np.ones((len(r), 1, 1)),
    )
    q = Quantiles(np.sort(np.random.default_rng(5).standard_normal(41)) + 0.3)
    mean, even = q.mean(), np.linspace(-1, 1, 41)
    step = QuantileJKO(0.25).step(kernel, q)
    expected = (q.values + 0.25 * (even + mean)) / 1.25
    np.testing.assert_allclose(step.state.values, expected, rtol=0, atol=1e-12)
    rest = run(QuantileJKO(1.0), kernel, q, 45.0)
    np.testing.assert_allclose(rest.values, even + mean, rtol=0, atol=1e-11)


def test_logarithmic_repulsion_rests_in_a_semicircle():
    """W = x²/2 − log|x|: ρ = √(2 − x²)/π. Levels of the quantiles err by a share of a cell's mass 1/n."""
    kernel = Interaction(
        lambda r: 0.5 * r[:, 0] ** 2 - np.log(np.abs(r[:, 0])),
        lambda r: r - 1 / r,
        lambda r: (1 + 1 / r**2)[..., None],
    )
    n = 100
    end = run(QuantileJKO(1.0), kernel, Quantiles(np.linspace(-2, 2, n + 1)), 12.0)
    x = np.clip(end.values / np.sqrt(2), -1, 1)
    levels = 0.5 + (np.arcsin(x) + x * np.sqrt(1 - x**2)) / np.pi
    np.testing.assert_allclose(levels, np.arange(n + 1) / n, rtol=0, atol=0.3 / n)
    assert end.covariance()[0, 0] == pytest.approx(0.5, rel=1 / n)


@pytest.mark.slow
def test_mean_field_langevin_dynamics_rests_at_its_gibbs_measure():
    """One input, weights θ = (a, w), neurons a tanh(wx), squared loss, decay λ, temperature T. At rest ρ ∝ exp(−R'[μ]/T), which
    by the outputs f(x_k) alone is a fixed point in as many numbers as there are data, found here by plain damped iteration."""
    inputs, targets = np.array([-1.5, -0.5, 0.5, 1.5]), np.array([-0.8, -0.6, 0.4, 0.9])
    decay, temperature = 0.2, 0.1

    def neurons(points):
        return points[:, :1] * np.tanh(points[:, 1:] * inputs)

    def risk(points, masses):
        misfit = masses @ neurons(points) - targets
        return 0.5 * np.mean(misfit**2) + 0.5 * decay * masses @ np.sum(points**2, axis=1)

    def first_variation(points, masses):
        misfit = masses @ neurons(points) - targets
        return neurons(points) @ misfit / 4 + 0.5 * decay * np.sum(points**2, axis=1)

    edges = (np.linspace(-4.5, 4.5, 46),) * 2
    grid = point_gaussian(edges, 1.0)
    end = run(GridJKO(2.0), Functional(risk, first_variation) + Entropy(temperature), grid, 40.0)
    outputs = np.zeros(4)
    for _ in range(500):
        field = neurons(grid.points) @ (outputs - targets) / 4
        gibbs = np.exp(-(field + 0.5 * decay * np.sum(grid.points**2, axis=1)) / temperature)
        outputs += 0.3 * (gibbs @ neurons(grid.points) / gibbs.sum() - outputs)
    np.testing.assert_allclose(
        end.masses.ravel(), gibbs / gibbs.sum(), rtol=0, atol=1e-5 * gibbs.max() / gibbs.sum()
    )
    assert np.abs(outputs).max() > 0.2
