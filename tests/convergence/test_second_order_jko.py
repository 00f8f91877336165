"""Steps from two states are of second order, against closed forms and references that share no code with them."""

from itertools import pairwise

import numpy as np
import pytest

from solvers import JKO, transport
from solvers.jko.grid.steps import GridJKO
from solvers.jko.quantile.steps import QuantileJKO
from solvers.measures.energies import Entropy, Interaction, Potential, PowerEntropy
from solvers.measures.representations import Grid, Quantiles
from tests.convergence.references import VALLEY, dop853, free_energy_velocity
from tests.convergence.test_exact_grid_jko_orders import Barenblatt, finite_volumes
from tests.helpers.particle_energies import Quadratic, Wavy

pytestmark = [pytest.mark.slow, pytest.mark.essential]

HARMONIC = Potential(
    lambda x: 0.5 * np.sum(x**2, axis=1),
    lambda x: x,
    lambda x: np.tile(np.eye(x.shape[1]), (len(x), 1, 1)),
)


def slope(step_sizes, errors):
    return np.polyfit(np.log(step_sizes), np.log(errors), 1)[0]


def march(scheme, energy, state, time, **arguments):
    """Equal steps from two states, after one of first order. Every one is certified."""
    step, earlier = scheme.step(energy, state, **arguments), state
    for _ in range(round(time / scheme.step_size) - 1):
        state, before = step.state, step
        step = scheme.step(energy, state, earlier=earlier, **arguments)
        earlier = state
        if isinstance(scheme, QuantileJKO):
            assert step.excess <= 1e-12
            # E + W2²/4τ falls by at least W2²/4τ
            share = 1 / (4 * scheme.step_size)
            lyapunov = [s.energy + share * s.transport_cost for s in (before, step)]
            assert lyapunov[1] + share * step.transport_cost <= lyapunov[0] + 1e-12
        else:
            assert step.converged and all(c.holds for c in step.certificates)
            assert len(step.certificates) == 2 and step.step_size == scheme.step_size
    return step.state


def at_rest(entropy):
    """Quantiles at rest in x²/2 under an entropy, to the last digits: their multiples keep their shape under either."""
    rest = Quantiles(np.linspace(-2, 2, 41))
    for _ in range(3):
        rest = QuantileJKO(1e9, tolerance=1e-9).step(HARMONIC + entropy, rest).state
    return rest


#: energy, the entropy of its profile, scale at the start, scale at t = 1
OF_ONE_SHAPE = {
    "Ornstein-Uhlenbeck": (HARMONIC + Entropy(), Entropy(), 2.0, np.sqrt(1 + 3 * np.exp(-2))),
    "heat": (Entropy(), Entropy(), 1.0, np.sqrt(3.0)),
    # of Barenblatt's solution: dE/ds is that of s^(1 − m)/(m − 1) times |q|², so s' = s^(−m)
    "porous medium, m = 2": (PowerEntropy(2.0), PowerEntropy(2.0), 1.0, 4 ** (1 / 3)),
    "porous medium, m = 3": (PowerEntropy(3.0), PowerEntropy(3.0), 1.0, 5 ** (1 / 4)),
}


@pytest.mark.parametrize("name", OF_ONE_SHAPE)
def test_multiples_of_one_profile_by_quantiles(name):
    """Only the scale changes, with a closed form in any number of cells, so that the error is that in time."""
    energy, entropy, scale, exact = OF_ONE_SHAPE[name]
    rest, step_sizes, errors = at_rest(entropy), [0.05, 0.025, 0.0125], []
    for tau in step_sizes:
        end = march(QuantileJKO(tau), energy, Quantiles(scale * rest.values), 1.0)
        errors.append(np.abs(end.values - exact * rest.values).max())
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)
    assert errors[-1] < 5e-4


def test_an_aggregation_by_quantiles():
    """W = x²/2 − |x|: q(t) = (2p − 1) + e^(−t) (q(0) − (2p − 1)), for quantiles of mean zero."""
    kernel = Interaction(
        lambda r: 0.5 * r[:, 0] ** 2 - np.abs(r[:, 0]),
        lambda r: r - np.sign(r),
        lambda r: np.ones((len(r), 1, 1)),
    )
    even = np.linspace(-1, 1, 31)
    start = Quantiles(2 * even + even**3)
    exact = even + np.exp(-1.0) * (start.values - even)
    step_sizes = [0.1, 0.05, 0.025]
    errors = [
        np.abs(march(QuantileJKO(tau), kernel, start, 1.0).values - exact).max()
        for tau in step_sizes
    ]
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)


def test_unequal_steps():
    """In x²/2 alone a quantile decays like e^(−t); steps in the ratio 3 : 2 : 3 : 2 …"""
    start, errors, counts = Quantiles([1.0, 2.0]), [], [10, 20, 40]
    for pairs in counts:
        sizes = np.tile([0.6, 0.4], pairs) / pairs
        earlier, state = start, QuantileJKO(sizes[0]).step(HARMONIC, start).state
        for before, tau in pairwise(sizes):
            step = QuantileJKO(tau).step(HARMONIC, state, earlier, before)
            assert step.excess <= 1e-12
            earlier, state = state, step.state
        errors.append(abs(state.values[1] - 2 * np.exp(-1.0)))
    assert -slope(counts, errors) == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_interacting_particles(weighted):
    """W2 to the particles of ẋ_i = −∇E'[μ](x_i) in an uneven potential with interaction."""
    rng = np.random.default_rng(0)
    energy, x = Wavy(2, 2), rng.standard_normal((10, 2))
    p = rng.dirichlet(np.ones(10)) if weighted else None

    def velocity(z):
        return -energy.gradient(z.reshape(x.shape), p).ravel()

    exact = dop853(velocity, x.ravel(), 1.0).reshape(x.shape)
    step_sizes = [1 / 8, 1 / 16, 1 / 32]
    errors = [
        transport.w2(march(JKO(tau), energy, x, 1.0, weights=p), exact, p, p).distance
        for tau in step_sizes
    ]
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)


def test_the_ornstein_uhlenbeck_process_of_particles():
    """σ² = 1 + 3e⁻²ᵗ by the gaps of 40 particles."""
    x = np.linspace(-1, 1, 40)[:, None]
    x *= 2 / np.sqrt(np.mean(x**2))
    exact, step_sizes = np.sqrt(1 + 3 * np.exp(-2)), [1 / 8, 1 / 16, 1 / 32]
    errors = []
    for tau in step_sizes:
        end = march(JKO(tau, temperature=1.0), Quadratic(), x, 1.0)
        errors.append(abs(np.sqrt(np.mean(end**2)) - exact))
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)


def test_descent_and_ascent_on_the_free_energy():
    start, eta = np.array([[0.1, 6.5], [0.05, 0.0]]), 0.3
    exact = dop853(lambda z: free_energy_velocity(z, eta), start.ravel(), 2)
    step_sizes, errors = [1 / 16, 1 / 32, 1 / 64], []
    for tau in step_sizes:
        end = march(JKO(tau, learning_rate=eta, saddle=True), VALLEY, start, 2.0)
        errors.append(np.abs(end.ravel() - exact).max())
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)


def on_grid(step_size, energy, grid, time):
    """Every step is certified, against the density before too, and keeps the mass."""
    step = GridJKO(step_size).step(energy, grid)
    for _ in range(round(time / step_size) - 1):
        step = GridJKO(step_size).step(energy, step.state, earlier=step)
        assert step.converged and step.excess <= 0 and step.energy < step.energy_before
    assert abs(step.state.masses.sum() - 1) < 1e-11
    return step.state


def test_the_porous_medium_on_a_grid():
    """To Barenblatt's solution in L1, from t = 1 to 2; `test_barenblatt` has finer grids."""
    edges, law, step_sizes = (np.linspace(-4, 4, 162),), Barenblatt(1, 2.0), [0.2, 0.1, 0.05]
    start, exact = (law.grid(edges, t, 8) for t in (1.0, 2.0))
    ends = [on_grid(tau, PowerEntropy(2.0), start, 1.0) for tau in step_sizes]
    errors = [np.abs(end.masses - exact.masses).sum() for end in ends]
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)
    front = np.abs(start.centers[0][ends[-1].density > 1e-3]).max()
    assert (
        abs(front - law.front(2.0)) < 1.5 * 8 / 161
    )  # half a cell between its center and its edge


def test_a_double_well_on_a_grid():
    """Against finite volumes whose backward Euler steps are extrapolated to steps of zero: the error in τ is left."""
    edges = np.linspace(-2.4, 2.4, 201)

    def wells(x):
        return (x[:, 0] ** 2 - 1) ** 2

    start = Grid.from_density(edges, lambda x: np.exp(-2 * (x[:, 0] - 0.5) ** 2))
    coarse, fine = (
        finite_volumes(edges, start.masses, wells, 0.5, 0.4, steps) for steps in (2000, 4000)
    )
    step_sizes = [0.1, 0.05, 0.025]
    errors = [
        np.abs(
            on_grid(t, Potential(wells) + Entropy(0.5), start, 0.4).masses - 2 * fine + coarse
        ).sum()
        for t in step_sizes
    ]
    assert slope(step_sizes, errors) == pytest.approx(2.0, abs=0.2)


def test_gaussians_in_the_plane():
    """In a bowl of different stiffness along its axes the widths obey the recursion of the scheme, which has no cells."""
    tau, temperature, stiffness, scale = 0.1, 0.5, np.array([1.0, 2.0]), np.array([1.4, 0.9])
    bowl = Potential(lambda x: 0.5 * x[:, 0] ** 2 + x[:, 1] ** 2)
    edges = (np.linspace(-6, 6, 49), np.linspace(-4, 4, 49))
    start = Grid.from_density(edges, lambda x: np.exp(-0.5 * np.sum((x / scale) ** 2, axis=1)), 3)
    end = on_grid(tau, bowl + Entropy(temperature), start, 0.4)

    def implicit(s, pace):
        """s' minimises ½ k s'² − T log s' + (s' − s)²/2pace."""
        a = 1 + pace * stiffness
        return (s + np.sqrt(s**2 + 4 * a * pace * temperature)) / (2 * a)

    first = before = np.sqrt(np.diagonal(start.covariance()))
    here = implicit(before, tau)
    for _ in range(3):
        before, here = here, implicit(here + (here - before) / 3, 2 * tau / 3)
    for _ in range(4):
        first = implicit(first, tau)
    off = np.abs(np.sqrt(np.diagonal(end.covariance())) - here)
    assert np.all(off < 0.25 * np.abs(first - here))
