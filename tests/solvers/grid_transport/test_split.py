"""Transport axis by axis on a grid: its derivatives by differences, its cost by plans of many points."""

import numpy as np
import pytest

from solvers.grid_transport.levels import doubled, doubled_centers, refined
from solvers.grid_transport.multigrid import Multigrid
from solvers.grid_transport.split import SplitTransport, conjugated
from solvers.transport import w2

SHAPES = [(9,), (6, 5), (4, 3, 5)]


def problem(shape, seed=0):
    """Random masses, and a potential whose differences move cuts by less than a cell: every site takes mass."""
    random = np.random.default_rng(seed)
    centers = tuple(0.3 * (np.arange(n) + 0.5) for n in shape)
    masses = random.dirichlet(np.full(np.prod(shape), 3.0)).reshape(shape)
    return centers, masses, 0.05 * random.standard_normal(shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_masses_are_the_gradient_and_the_stiffness_their_derivative(shape):
    centers, masses, phi = problem(shape)
    transport = SplitTransport(centers, masses, 0.2)
    transport.transform(phi)
    transport.update_slopes()
    direction = np.random.default_rng(1).standard_normal(shape)
    values, pushed, h = [], [], 1e-6
    for sign in (1, -1):
        values.append(transport.transform(phi + sign * h * direction))
        pushed.append(transport.push())
    transport.transform(phi)
    here = transport.push()
    transport.couplings()
    slope = (values[0] - values[1]) / (2 * h)
    assert slope == pytest.approx(-np.sum(here * direction), rel=1e-6)
    change = (pushed[0] - pushed[1]) / (2 * h)
    np.testing.assert_allclose(transport.stiffness(direction), change, rtol=0, atol=1e-6)
    assert here.sum() == pytest.approx(1.0, abs=1e-14) and here.min() >= 0


@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_potential_nothing_moves_at_no_cost(shape):
    centers, masses, _ = problem(shape)
    transport = SplitTransport(centers, masses, 0.2)
    assert transport.transform(np.zeros(shape)) == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(transport.push(), masses, rtol=0, atol=1e-15)


def test_a_shift_costs_its_square():
    """φ = s·x/τ moves all mass by s, here 0.37 of a cell and 2.37 cells, away from the boundary; D = |s|²."""
    centers = (0.5 * np.arange(40), 0.5 * np.arange(30))
    x, y = np.meshgrid(*centers, indexing="ij")
    masses = np.where((abs(x - 8) < 3) & (abs(y - 7) < 3), 1.0, 0.0)
    masses /= masses.sum()
    for cells in (0.37, 2.37):
        shift = np.array([0.5 * cells, -0.25 * cells])
        phi = (shift[0] * x + shift[1] * y) / 0.2
        transport = SplitTransport(centers, masses, 0.2)
        value = transport.transform(phi)
        pushed = transport.push()
        cost = 0.4 * (value + np.sum(pushed * phi))
        assert cost == pytest.approx(shift @ shift, rel=1e-12)
        mean = np.array([np.sum(pushed * x), np.sum(pushed * y)])
        np.testing.assert_allclose(mean, [8 + shift[0], 7 + shift[1]], atol=1e-12)


def test_on_the_line_the_cost_is_that_of_quantiles():
    """D + h²/12 is W2² from the density to points; 400 points per cell in its place err by h²/400²."""
    centers, masses, phi = problem((9,))
    transport = SplitTransport(centers, masses, 0.2)
    value = transport.transform(3 * phi)
    pushed = transport.push()
    cost = 0.4 * (value + np.sum(pushed * 3 * phi)) + 0.3**2 / 12
    xi = (np.arange(400) + 0.5) / 200 - 1
    slopes = transport._axes[0]._slopes[0]
    points = centers[0][:, None] + 0.15 * xi
    weights = masses[:, None] * (1 + slopes[:, None] * xi) / 400
    exact = w2(points.ravel(), centers[0], weights.ravel() / weights.sum(), pushed).distance ** 2
    assert cost == pytest.approx(exact, abs=1e-6)


def test_the_conjugate_is_a_minimum_over_all_centers():
    centers, _, psi = problem((5, 4))
    psi[2, 1] = -np.inf
    points = np.stack(np.meshgrid(*centers, indexing="ij"), axis=-1).reshape(-1, 2)
    squares = np.sum((points[:, None] - points) ** 2, axis=-1)
    expected = np.min(squares / 0.4 - psi.ravel(), axis=1).reshape(5, 4)
    np.testing.assert_allclose(conjugated(centers, psi, 0.2), expected, atol=1e-14)


@pytest.mark.parametrize("shape", [(33,), (17, 12), (7, 8, 9)])
def test_a_cycle_nearly_inverts(shape):
    """Against the dense matrix: symmetric, positive, and the error of x falls at least by half."""
    random = np.random.default_rng(2)
    kappa = random.uniform(0.1, 1.0, shape)
    couplings = [random.uniform(0.5, 2.0, shape) for _ in shape]
    for axis, part in enumerate(couplings):
        np.moveaxis(part, axis, 0)[-1] = 0.0

    def apply(x):
        out = kappa * x
        for axis, part in enumerate(couplings):
            flux = part * (np.roll(x, -1, axis) - x)
            out = out - flux + np.roll(flux, 1, axis)
        return out

    cycle = Multigrid(kappa, couplings)
    x, y = random.standard_normal((2, *shape))
    assert np.vdot(cycle(x), y) == pytest.approx(np.vdot(x, cycle(y)), rel=1e-10)
    assert np.vdot(cycle(x), x) > 0
    error = x - cycle(apply(x))
    assert np.vdot(error, apply(error)) < 0.25 * np.vdot(x, apply(x))


def test_coarser_cells():
    assert doubled(np.arange(5.0)).tolist() == [1.0, 5.0, 4.0]
    assert doubled_centers((np.arange(5.0),))[0].tolist() == [0.5, 2.5, 4.5]
    x, y = np.meshgrid(0.5 + 2 * np.arange(3), 0.5 + 2 * np.arange(2), indexing="ij")
    fine = refined(2 * x - y, (5, 4))
    expected = 2 * np.arange(5.0)[:, None] - np.arange(4.0)
    np.testing.assert_allclose(fine, expected, atol=1e-14)
    assert np.isfinite(refined(np.array([-np.inf, 1.0, 2.0]), (6,))).all()
