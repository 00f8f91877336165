import time
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from solvers.jko.grid import steps
from solvers.jko.grid.convolution import Convolution
from solvers.jko.grid.energy import GridEnergy
from solvers.jko.proximal_result import JKOError
from solvers.measures.energies import (
    Energy,
    Entropy,
    Functional,
    Interaction,
    Potential,
    PowerEntropy,
)
from solvers.measures.representations import Grid

GridJKO = partial(steps.GridJKO, method="entropic", tolerance=1e-9)
HARMONIC = Potential(lambda x: 0.5 * np.sum(x**2, axis=1))
WELLS = Potential(lambda x: 2 * (x[:, 0] ** 2 - 1) ** 2)
ATTRACTION = Interaction(lambda r: 0.5 * np.sum(r**2, axis=1))
LINE = np.linspace(-12, 12, 161)


def sampled_gaussian(edges, scale=1.0, mean=0.0):
    """Masses ∝ the density *at* the centers: to the trapezoidal rule, spectrally accurate, a Gaussian of this very variance."""
    axes = edges if isinstance(edges, tuple) else (edges,)
    empty = Grid(axes, np.full([len(e) - 1 for e in axes], 1 / np.prod([len(e) - 1 for e in axes])))
    masses = np.exp(-0.5 * np.sum(((empty.points - mean) / scale) ** 2, axis=1))
    return Grid(axes, masses.reshape(empty.masses.shape) / masses.sum())


def spread(grid):
    """Standard deviation of the masses as points."""
    return np.sqrt(np.diagonal(grid.covariance()) - grid.cell_variances())


def entropic_cost(a, b, epsilon):
    """OT_ε of N(0, a²) and N(0, b²) with KL(P | dx dx), up to a constant: Janati et al., arXiv:2006.02572, Theorem 1."""
    root = np.sqrt(4 * a**2 * b**2 + epsilon**2 / 4)
    mutual = a**2 + b**2 - root + epsilon / 2 * np.log(root + epsilon / 2)
    return mutual - epsilon * (np.log(a) + np.log(b))


def sinkhorn_divergence(a, b, epsilon):
    own = entropic_cost(a, a, epsilon) + entropic_cost(b, b, epsilon)
    return entropic_cost(a, b, epsilon) - 0.5 * own


def minimiser(function, near):
    """By Brent's method, to the square root of rounding."""
    return minimize_scalar(function, bracket=(0.8 * near, 1.1 * near), options={"xtol": 1e-12}).x


@pytest.mark.parametrize("epsilon", [0.045, 0.1, 0.4])
@pytest.mark.parametrize("step_size", [0.05, 0.5])
def test_a_step_between_gaussians(epsilon, step_size):
    """V = x²/2, T = 1: the minimiser is a Gaussian, whose width minimises a function of one variable.

    The tolerances are Brent's, 1e-8, and the scaling's, 1e-9; sums over the grid with ε = 2h² = 0.045 err by 1e-8 too.
    """
    scheme = GridJKO(step_size, epsilon)
    step = scheme.step(HARMONIC + Entropy(), sampled_gaussian(LINE, 1.4))

    def total(s):
        return 0.5 * s**2 - np.log(s) + sinkhorn_divergence(s, 1.4, epsilon) / (2 * step_size)

    s = minimiser(total, 1.4)
    assert spread(step.state)[0] == pytest.approx(s, abs=1e-7)
    assert step.transport_cost == pytest.approx(sinkhorn_divergence(s, 1.4, epsilon), abs=1e-8)
    drop = 0.5 * (1.4**2 - s**2) - np.log(1.4 / s)
    assert step.energy_before - step.energy == pytest.approx(drop, abs=1e-8)
    assert step.excess == pytest.approx(total(s) - total(1.4), abs=1e-7)


def test_without_debiasing_a_step_blurs():
    """By the closed form again; and in excess of the debiased step by a variance of ε/2, to the first order in ε."""
    epsilon, tau = 0.1, 0.5
    gaussian = sampled_gaussian(LINE, 1.4)
    plain = GridJKO(tau, epsilon, debias=False).step(Entropy(), gaussian)

    def total(s):
        # the reference measure of the new side is dx: OT_ε itself
        return -np.log(s) + entropic_cost(s, 1.4, epsilon) / (2 * tau)

    assert spread(plain.state)[0] == pytest.approx(minimiser(total, 1.7), abs=1e-7)
    assert plain.excess <= 0
    debiased = GridJKO(tau, epsilon).step(Entropy(), gaussian)
    blurred = spread(plain.state)[0] ** 2 - spread(debiased.state)[0] ** 2
    assert blurred == pytest.approx(epsilon / 2, rel=0.2)


def test_the_minimiser_among_all_masses():
    """E + S_ε/2τ by plain sums and a naive Sinkhorn, its derivatives by differences: flat at the state, along every direction of
    zero sum. Differences of size δ = 1e-4 of a mass leave δ² ≈ 1e-8 of third derivatives over mass², here below 1e3."""
    edges, tau, epsilon = np.linspace(-1.5, 1.5, 13), 0.2, 0.1
    centers, h = 0.5 * (edges[1:] + edges[:-1]), 0.25
    cost = np.subtract.outer(centers, centers) ** 2
    kernel = np.exp(-cost / epsilon)

    def entropic(m, n):
        a, b = np.ones(12), np.ones(12)
        for _ in range(3000):
            b = n / (kernel.T @ a)
            a = m / (kernel @ b)
        return epsilon * (m @ np.log(a) + n @ np.log(b))

    def total(m):
        energy = (
            m @ (2 * (centers**2 - 1) ** 2)
            + 0.3 * m @ np.log(m / h)
            + 0.2 * h * np.sum((m / h) ** 3) / 2
        )
        energy += 0.5 * m @ (np.exp(-cost)) @ m
        divergence = entropic(m, start) - 0.5 * entropic(m, m) - 0.5 * entropic(start, start)
        return energy + divergence / (2 * tau)

    grid = sampled_gaussian(edges, 0.6, 0.2)
    start = grid.masses
    energy = (
        WELLS
        + Entropy(0.3)
        + PowerEntropy(3.0, 0.2)
        + Interaction(lambda r: np.exp(-(r[:, 0] ** 2)))
    )
    step = GridJKO(tau, epsilon, tolerance=1e-12).step(energy, grid)
    m = step.state.masses
    assert step.energy + step.transport_cost / (2 * tau) == pytest.approx(total(m), abs=1e-9)
    for i in range(11):
        shift = np.zeros(12)
        shift[i], shift[i + 1] = 1e-4 * min(m[i], m[i + 1]), -1e-4 * min(m[i], m[i + 1])
        up, here, down = total(m + shift), total(m), total(m - shift)
        assert up > here < down
        assert abs(up - down) < 0.02 * (up + down - 2 * here)


@pytest.mark.parametrize(
    "energy",
    [
        Entropy(0.5),
        WELLS + Entropy(0.5),
        PowerEntropy(2.0),
        PowerEntropy(3.0) + HARMONIC,
        PowerEntropy(0.5),
        ATTRACTION + Entropy(0.1),
        Interaction(lambda r: 0.5 * r[:, 0] ** 2 - np.log(np.abs(r[:, 0]))) + Entropy(0.1),
        HARMONIC,
    ],
    ids=["heat", "wells", "power 2", "power 3", "power 1/2", "attraction", "log", "potential"],
)
def test_every_step_keeps_mass_and_lowers_the_energy(energy: Energy):
    """From a density with an empty half: mass to rounding, no negative cell, E + S_ε/2τ ≤ E before up to the tolerance."""
    edges = np.linspace(-4, 4, 81)
    grid = Grid.from_density(edges, lambda x: np.maximum(0.0, 4 - (x[:, 0] - 1) ** 2))
    scheme = GridJKO(0.1)
    for _ in range(3):
        step = scheme.step(energy, grid)
        grid = step.state
        assert abs(grid.masses.sum() - 1.0) < 1e-14
        assert grid.masses.min() >= 0.0
        assert step.excess <= 1e-9
        assert step.residual <= 1e-9 and step.converged
        assert step.transport_cost >= 0.0


def test_no_flux_through_the_boundary():
    """The uniform density stays; cos(πx) on [0, 1] decays by 1/(1 + τπ²) a step, the backward Euler step of the heat equation.

    S_ε errs by a relative (ε π²)² of order 1e-6 in the metric, the amplitude 1e-3 by its square.
    """
    edges = np.linspace(0.0, 1.0, 81)
    uniform = Grid(edges, np.full(80, 1 / 80))
    scheme = GridJKO(0.05)
    still = scheme.step(Entropy(), uniform).state
    np.testing.assert_allclose(still.density, 1.0, rtol=0, atol=1e-8)
    wave = np.cos(np.pi * uniform.centers[0])
    grid = Grid(edges, (1 + 1e-3 * wave) / 80)
    for _ in range(3):
        grid = scheme.step(Entropy(), grid).state
    amplitude = 2 * np.mean(grid.density * wave)
    assert amplitude == pytest.approx(1e-3 / (1 + 0.05 * np.pi**2) ** 3, rel=1e-3)


def test_in_the_plane_a_separable_flow_is_two_on_the_line():
    """Anisotropic wells V = V_1(x) + V_2(y) with entropy from a product: the minimiser is the product."""
    x, y = np.linspace(-3, 3, 31), np.linspace(-5, 5, 41)
    along_x = Potential(lambda p: (p[:, 0] ** 2 - 1) ** 2)
    along_y = Potential(lambda p: 0.5 * p[:, -1] ** 2)
    start = sampled_gaussian(x, 0.8), sampled_gaussian(y, 1.3)
    scheme = GridJKO(0.1, 0.2)
    expected = [
        scheme.step(V + Entropy(0.7), grid).state.masses
        for V, grid in zip((along_x, along_y), start, strict=True)
    ]
    plane = Grid((x, y), np.multiply.outer(start[0].masses, start[1].masses))
    step = scheme.step(along_x + along_y + Entropy(0.7), plane)
    np.testing.assert_allclose(step.state.masses, np.multiply.outer(*expected), rtol=0, atol=1e-9)
    assert abs(step.state.masses.sum() - 1) < 1e-14 and step.state.masses.min() > 0


@pytest.mark.parametrize("dimension", [1, 2])
def test_mutual_attraction_is_a_potential_about_the_mean(dimension):
    """½ ∬ ½|x − y|² = ½ ∫ |x − mean|², so from a centered measure the steps are equal."""
    edges = (np.linspace(-5, 5, 41), np.linspace(-4, 4, 33))[:dimension]
    grid = sampled_gaussian(edges, 1.2)
    scheme = GridJKO(0.1)
    by_pairs = scheme.step(ATTRACTION + Entropy(0.5), grid)
    alone = scheme.step(HARMONIC + Entropy(0.5), grid)
    np.testing.assert_allclose(by_pairs.state.masses, alone.state.masses, rtol=0, atol=1e-8)
    assert by_pairs.energy == pytest.approx(alone.energy, abs=1e-7)


def test_a_functional_by_its_first_variation():
    """E = ½ (∫ f dμ)², of first variation f ∫ f dμ, is the interaction W(x, y) = f(x) f(y); f = |x|² here, which is not even in
    x − y, so against a potential: at a minimum over μ it acts as the potential f ∫ f dμ of the new μ."""
    grid = sampled_gaussian(LINE, 1.2)

    def feature(points):
        return points[:, 0] ** 2

    square = Functional(
        lambda points, masses: 0.5 * (masses @ feature(points)) ** 2,
        lambda points, masses: feature(points) * (masses @ feature(points)),
    )
    step = GridJKO(0.1).step(square + Entropy(), grid)
    moment = step.state.masses @ feature(grid.points)
    frozen = GridJKO(0.1).step(Potential(lambda x: moment * feature(x)) + Entropy(), grid)
    np.testing.assert_allclose(step.state.masses, frozen.state.masses, rtol=0, atol=1e-8)
    assert step.energy == pytest.approx(0.5 * moment**2 + frozen.energy - moment * moment)


def test_cells_of_unequal_width():
    """Masses as points know nothing of the cells but by their volumes: on stretched cells the Gaussian's step is the same.

    The midpoint rule is of second order there: tolerance h²/12 with h = 0.3, the largest side.
    """
    edges = 9 * np.sinh(np.linspace(-1, 1, 161)) / np.sinh(1)
    h = np.diff(edges).max()
    grid = Grid.from_density(edges, lambda x: np.exp(-0.5 * (x[:, 0] / 1.4) ** 2))
    step = GridJKO(0.2).step(HARMONIC + Entropy(), grid)
    expected = minimiser(
        lambda s: 0.5 * s**2 - np.log(s) + sinkhorn_divergence(s, 1.4, 2 * h**2) / 0.4, 1.4
    )
    assert step.state.covariance()[0, 0] == pytest.approx(expected**2, abs=h**2 / 6)


def test_a_singular_interaction_takes_its_mean_within_a_cell():
    """E[−log|x − y|] of two points in a cell of side h: 3/2 − log h; in a square of side 1 by the midpoint
    rule. Quadrature of the logarithm with 64 nodes errs by 3e-4."""
    log = Interaction(lambda r: -0.5 * np.log(np.sum(r**2, axis=1)))
    line = Grid(np.linspace(0, 1, 5), np.full(4, 0.25))
    assert Convolution(log, line)(np.eye(4)[0])[0] == pytest.approx(1.5 - np.log(0.25), abs=1e-3)
    edges = (np.linspace(0, 2, 3), np.linspace(0, 3, 4))
    corner = np.zeros((2, 3))
    corner[0, 0] = 1.0
    got = Convolution(log, Grid(edges, corner))(corner)
    s = (np.arange(400) + 0.5) / 400
    weights = np.multiply.outer(1 - s, 1 - s)
    logs = -0.5 * np.log(np.add.outer(s**2, s**2))
    assert got[0, 0] == pytest.approx(np.sum(weights * logs) / weights.sum(), abs=1e-3)
    assert got[1, 2] == pytest.approx(-0.5 * np.log(5), abs=1e-12)


@pytest.mark.parametrize("dimension", [1, 2])
def test_a_convolution_is_the_sum_over_cells(dimension):
    """An even W that is no function of |r|, on 4 × 7 cells."""
    tilted = Interaction(lambda r: np.cos(r[:, 0] + 2 * r[:, -1]) + np.abs(r[:, 0] - r[:, -1]))
    edges = (np.linspace(0, 1, 5), np.linspace(-1, 2, 8))[:dimension]
    shape = tuple(len(axis) - 1 for axis in edges)
    masses = np.random.default_rng(1).dirichlet(np.ones(np.prod(shape))).reshape(shape)
    grid = Grid(edges, masses)
    differences = grid.points[:, None] - grid.points
    matrix = tilted.field.values(differences.reshape(-1, dimension)).reshape(len(grid.points), -1)
    expected = (matrix @ masses.ravel()).reshape(shape)
    np.testing.assert_allclose(Convolution(tilted, grid)(masses), expected, rtol=0, atol=1e-14)


def test_values_of_energies_on_a_grid():
    """A uniform density 1/w: ∫ρ log ρ = −log w, ∫ρ^m = w^(1−m), ∫ x²/2 by the midpoint rule."""
    grid = Grid(np.linspace(0, 3, 31), np.full(30, 1 / 30))
    assert GridEnergy(Entropy(2.0), grid).value(grid.masses) == pytest.approx(-2 * np.log(3))
    cubic = GridEnergy(PowerEntropy(3.0, 5.0), grid).value(grid.masses)
    assert cubic == pytest.approx(5 / 2 * 3.0**-2)
    midpoints = np.mean(0.5 * grid.centers[0] ** 2)
    assert GridEnergy(HARMONIC, grid).value(grid.masses) == pytest.approx(midpoints)


def test_learning_rate_and_step_size_enter_as_a_product():
    grid = sampled_gaussian(LINE, 1.4)
    energy = HARMONIC + Entropy()
    a = GridJKO(0.4, learning_rate=0.25).step(energy, grid)
    b = GridJKO(0.1).step(energy, grid)
    np.testing.assert_array_equal(a.state.masses, b.state.masses)


def test_a_step_in_the_plane_takes_a_fraction_of_a_second():
    """64 × 64 cells: about 0.1 s of one core."""
    edges = (np.linspace(-6, 6, 65),) * 2
    grid = sampled_gaussian(edges, 1.5)
    began = time.process_time()
    step = GridJKO(0.1).step(HARMONIC + Entropy(), grid)
    assert step.iterations < 60
    assert time.process_time() - began < 5.0


def test_an_iteration_limit_raises_with_the_remedy():
    grid = sampled_gaussian(LINE, 1.4)
    with pytest.raises(JKOError, match=r"a residual of .* remains.*a larger max_iterations than 3"):
        GridJKO(0.1, max_iterations=3).step(HARMONIC + Entropy(), grid)
    lax = GridJKO(0.1, max_iterations=3, require_convergence=False)
    step = lax.step(HARMONIC + Entropy(), grid)
    assert not step.converged and step.iterations == 3
    assert abs(step.state.masses.sum() - 1) < 1e-14


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: GridJKO(0.0), "step_size must be .*got 0.0"),
        (lambda g: GridJKO(-1.0), "step_size must be .*got -1.0"),
        (lambda g: GridJKO(0.1, 0.0), "regularization must be .*got 0.0"),
        (lambda g: GridJKO(0.1, np.nan), "regularization must be .*got nan"),
        (lambda g: GridJKO(0.1, learning_rate=-1.0), "learning_rate must be .*got -1.0"),
        (lambda g: GridJKO(0.1, tolerance=0.0), "tolerance must be .*got 0.0"),
        (lambda g: GridJKO(0.1, max_iterations=0), "max_iterations must be .*got 0"),
        (
            lambda g: GridJKO(0.1, 1e-3).step(HARMONIC, g),
            "regularization must be at least .*got 0.001",
        ),
        (
            lambda g: GridJKO(0.1).step(Energy(), g),
            "energy must be .* known to GridJKO, got .*Energy",
        ),
        (
            lambda g: GridJKO(0.1).step(PowerEntropy(2.0) + PowerEntropy(3.0), g),
            "energy must have one power of the density, got exponents 2 and 3",
        ),
        (
            lambda g: GridJKO(0.1).step(Interaction(lambda r: r[:, 0]), g),
            "function must be even",
        ),
        (
            lambda g: GridJKO(0.1).step(Potential(lambda x: np.log(x[:, 0] - x[0, 0])), g),
            "function must be finite at the centers",
        ),
        (
            lambda g: GridJKO(0.1).step(Functional(lambda x, m: 0.0, lambda x, m: x), g),
            "first_variation's value must have shape",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(sampled_gaussian(LINE))


def test_interactions_in_the_plane_need_equal_cells():
    edges = (np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="cells must be of equal width"):
        GridJKO(1.0, 5.0).step(ATTRACTION, Grid(edges, np.full((2, 1), 0.5)))
