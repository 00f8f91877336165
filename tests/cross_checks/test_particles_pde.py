"""The mean-field limit from both sides: particles of a two-layer network at the edge of stability, and the phase-space PDE.

One weight per neuron, f(x) = ∫ tanh(θx) dρ(θ), a teacher of θ = 0.3, and a learning rate at which the sharpness meets 2/η while
the fluctuations are of the size of the weights. Both start from one smooth law p_0(θ, u): the particles by its quantiles.
"""

import numpy as np
import pytest
from scipy.stats import beta

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task
from solvers.phase_space.pde import PhaseSpacePDE

pytestmark = [pytest.mark.slow, pytest.mark.essential]  # they compile a network of their own

ETA = 2.8
MIDDLE, RADII = np.array([0.5, 0.2]), np.array([0.4, 0.2])
DOMAIN = ((-0.8, 1.6), (-0.3, 0.5))
MANY = 2**16


@pytest.fixture(scope="module")
def risk():
    network = TwoLayerNetwork(1, activation="tanh", bias=False, train_output=False)
    inputs = np.linspace(-2, 2, 16)[:, None]
    return Risk(network, Task(inputs, network.forward(np.array([[0.3]]), inputs), "teacher"))


def hump(theta, u):
    """p_0: (1 − z²)³ in each coordinate, scaled."""
    a, b = (theta - MIDDLE[0]) / RADII[0], (u - MIDDLE[1]) / RADII[1]
    return np.maximum(1 - a**2, 0) ** 3 * np.maximum(1 - b**2, 0) ** 3


def particles(n):
    """Centers and fluctuations (2, n, 1) of that law, a beta law in each; multiples of the golden ratio are equidistributed."""
    i = np.arange(n) + 0.5
    levels = np.stack([i / n, (i * 0.5 * (np.sqrt(5) - 1)) % 1.0])
    return (MIDDLE[:, None] + RADII[:, None] * (2 * beta.ppf(levels, 4, 4) - 1))[:, :, None]


def moved(risk, state, time):
    """By the free-energy flow, RK4 with dt = 1/16, whose error is far below that of either limit."""
    energy = solvers.FreeEnergy(risk, ETA)

    def velocity(t, z):
        d_center, d_fluctuation = energy.gradient(z[0], z[1])
        return ETA * np.stack([-d_center, d_fluctuation])

    for _ in range(round(16 * time)):
        state = solvers.RK4().advance(velocity, 0.0, state, 1 / 16)
    return state


def w2_to_grid(x, grid, tails=0.0):
    """W2 between equal particles and a density that is constant in cells: over midpoints of levels, at least four to a particle.

    With `tails`, the root mean square between quantiles at the levels from tails to 1 − tails alone.
    """
    each = max(4, 2**18 // len(x))
    levels = (np.arange(each * len(x)) + 0.5) / (each * len(x))
    cumulative = np.concatenate([[0.0], np.cumsum(grid.masses)])
    quantiles = np.interp(levels, cumulative / cumulative[-1], grid.edges[0])
    squares = (np.repeat(np.sort(x.ravel()), each) - quantiles) ** 2
    return np.sqrt(np.mean(squares[(levels > tails) & (levels < 1 - tails)]))


def solved(risk, cells, time, x0=hump, domain=DOMAIN):
    pde = PhaseSpacePDE(ETA, cells=(cells, cells), domain=domain)
    start = pde.start(risk, x0)
    density, report = pde.advance(risk, start, time)
    return start, density, report


def distances(state, density, tails=0.0):
    marginals = density.theta_marginal(), density.u_marginal()
    return [w2_to_grid(x, grid, tails) for x, grid in zip(state, marginals, strict=True)]


def slopes(sizes, errors):
    """Of log errors (sizes, quantities) in log sizes."""
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


@pytest.mark.parametrize("time", [1, 2, 4])
def test_the_run_is_at_the_edge_of_stability(risk, time):
    centers, fluctuations = moved(risk, particles(512), time)
    (sharpness,), _ = solvers.top_eigenpairs(risk, centers, k=1)
    assert 1.8 < ETA * sharpness < 2.25
    assert np.sqrt(np.mean(fluctuations**2)) > 0.3 * np.sqrt(np.mean(centers**2))


@pytest.mark.slow
def test_refining_the_grid_reaches_the_particles_at_order_two(risk):
    """While the law is smooth on the grid: u contracts at rates up to 2, and is thinner than these cells two iterations on.

    At the ends of the support, where the limiter acts, the law is spread more: the outer percent takes W2 as a whole below two.
    """
    state = moved(risk, particles(MANY), 0.5)
    cells, inner, whole, means = [32, 64, 128], [], [], []
    for n in cells:
        _, density, _ = solved(risk, n, 0.5)
        inner.append(distances(state, density, tails=0.01))
        whole.append(distances(state, density))
        means.append(abs(density.mean_center - state[0].mean()))
    assert slopes(cells, inner) == pytest.approx([-2, -2], abs=0.25)
    assert slopes(cells, means) == pytest.approx(-2, abs=0.2)
    assert np.all(slopes(cells, whole) < -1.6)


def test_adding_particles_reaches_the_grid(risk):
    """The quantile function of (1 − z²)³ ends like p^(1/4): of n particles the outer is n^(−1/4) off, and W2 is n^(−1/2 − 1/4).

    The law of u gets its particles from numbers of low discrepancy, at a rate between −½ and −1. The grid's own error is far
    below that of 256 particles.
    """
    density = solved(risk, 192, 1)[1]
    sizes = [16, 64, 256]
    errors = [distances(moved(risk, particles(n), 1), density) for n in sizes]
    theta, u = slopes(sizes, errors)
    assert theta == pytest.approx(-0.75, abs=0.2)
    assert -1.0 < u < -0.5


def test_free_energies_and_dissipation_agree_to_a_percent(risk):
    """F(t) − F(0) of the grid, ∫ (−η‖∂_θF'‖² + η‖∂_uF'‖²) dt by its fluxes, and F(t) − F(0) of the particles."""
    start, density, report = solved(risk, 192, 2)
    change = density.free_energy(risk, ETA) - start.free_energy(risk, ETA)
    assert report.dissipated == pytest.approx(change, rel=1e-2)
    energy = solvers.FreeEnergy(risk, ETA)
    state = particles(4096)
    assert energy.value(*moved(risk, state, 2)) - energy.value(*state) == pytest.approx(
        change, rel=1e-2
    )


@pytest.mark.slow
def test_a_law_that_contracts_below_the_cells_is_reached_at_order_one(risk):
    state = moved(risk, particles(MANY), 8)
    cells = [48, 96, 192]
    errors = [distances(state, solved(risk, n, 8)[1]) for n in cells]
    assert np.all(slopes(cells, errors) < -0.8)


@pytest.mark.slow
def test_the_start_of_gradient_descent_a_law_on_a_curve_is_reached_at_order_one_half_at_least(risk):
    """Upwind differences, which is what remains without slopes, spread it by √(h |v| t)."""
    x0 = (MIDDLE[0] + RADII[0] * (2 * beta.ppf((np.arange(2**14) + 0.5) / 2**14, 4, 4) - 1))[
        :, None
    ]
    u0 = 0.5 * ETA * risk.gradient(x0)
    state = moved(risk, np.stack([x0 - u0, u0]), 1)
    cells = [32, 64, 128, 256]
    errors = [distances(state, solved(risk, n, 1, x0, None)[1]) for n in cells]
    assert np.all(slopes(cells, errors) < -0.4)
    # The law itself is that of the particles to a cell or so from the start.
    grid = PhaseSpacePDE(ETA, cells=(64, 64)).start(risk, x0)
    assert max(distances((x0 - u0, u0), grid)) < max(grid.grid.spacings)
