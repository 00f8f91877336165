"""Landscapes against what is known of each."""

import math

import numpy as np
import pytest

from meanfield.landscapes import (
    DegreeFour,
    LinearNeurons,
    LogCoshProduct,
    MatrixFactorization,
    Quartic,
    RiverValley,
    Rosenbrock,
    ScalarFactorization,
    Valley,
    VaryingTrough,
)
from tests.helpers.landscape_checks import EPS, close, hessian, random_point


def descend(landscape, learning_rate, steps, start=None):
    x = np.array(landscape.start if start is None else start)
    iterates = [x]
    for _ in range(steps):
        x = x - learning_rate * landscape.gradient(x)
        iterates.append(x)
    return np.array(iterates)


def sharpness(landscape, x):
    return np.linalg.eigvalsh(hessian(landscape, np.asarray(x)))[-1]


def test_valley_peaks_where_it_should():
    y = descend(Valley(), 0.3, 1000)[:, 1]
    assert np.argmax(y > 2 / 0.3) == 223
    assert (np.argmax(y), y.max()) == (481, pytest.approx(7.4351, abs=5e-5))


def test_river_of_codimension_one_is_the_valley():
    p, v, u = random_point(Valley())
    for name, arguments in [
        ("value", (p,)),
        ("gradient", (p,)),
        ("hvp", (p, v)),
        ("third", (p, u)),
    ]:
        one, other = (getattr(E, name)(*arguments) for E in (RiverValley(), Valley()))
        assert close(one, other, 10 * EPS)


@pytest.mark.parametrize(("gap", "onsets"), [(0.5, (139, 306)), (0.0, (223, 223))])
def test_two_critical_modes_fluctuate_for_ever(gap, onsets):
    """ηS of both comes to 2 and Σ to ε I on average, which one vector u can only do by turning."""
    eta, landscape = 0.3, RiverValley(codimension=2, gap=gap)
    p = descend(landscape, eta, 8000)
    x, y, z, q = p[:, :2], *p[:, 2:].T
    radius = np.hypot(0.5 * gap + z, q)
    modes = eta * np.stack([y + radius, y - radius])
    assert tuple(np.argmax(modes > 2, axis=1)) == onsets
    u = 0.5 * np.diff(x, axis=0)[-4000:]
    covariance = u.T @ u / len(u)
    # Σ = ε I up to what is left of one turn in 4,000 steps, and ηS = 2 up to its swing, ±0.15.
    assert np.abs(covariance - 0.01 * np.eye(2)).max() < 5e-4
    assert np.abs(modes[:, -4000:] - 2).max() < 0.15
    assert np.abs(x[-4000:]).max(axis=0).min() > 0.2
    assert np.abs(x[-4000:]).min(axis=0).max() < 1e-3


def test_two_modes_that_are_not_coupled_settle():
    x = descend(RiverValley(codimension=2, coupling=0.0), 0.3, 20_000)[-500:, :2]
    size = (0.25 * np.diff(x, axis=0) ** 2).sum(axis=1)
    assert size == pytest.approx(np.full(size.shape, 0.02), rel=0.01)


def test_degree_four_ends_just_below_the_edge():
    landscape, eta = DegreeFour(), 0.01
    x, y = landscape.start[:2]
    iterates = descend(landscape, eta, 20)
    for k in range(300_000):
        if k < len(iterates):
            assert iterates[k] == pytest.approx([x, y, x, y], rel=1e-12)
        slope = (1 - (x * y) ** 2) * x * y
        x, y = x + eta * slope * y, y + eta * slope * x
    assert (x, y) == (pytest.approx(9.99938, abs=5e-6), pytest.approx(0.100006, abs=5e-7))
    assert sharpness(landscape, [x, y, x, y]) == pytest.approx(199.995, abs=5e-4)


@pytest.mark.parametrize(("curvature", "quartic", "eta"), [(10.0, 1.0, 0.21), (4.0, 2.0, 0.6)])
def test_quartic_ends_in_its_two_cycle(curvature, quartic, eta):
    w = descend(Quartic(curvature, quartic), eta, 500)[-2:, 0]
    assert w[0] == pytest.approx(-w[1], rel=1e-12)
    assert w[0] ** 2 == pytest.approx(curvature / quartic - 2 / (eta * quartic), rel=1e-12)


def test_depth_two_balances_by_the_residual():
    landscape, eta = ScalarFactorization(), 0.3
    x, y = descend(landscape, eta, 200).T
    c, r = x**2 - y**2, x * y - 1
    # c is a difference of squares of at most 9: each step rounds by a few ε of that.
    assert np.abs(c[1:] - c[:-1] * (1 - eta**2 * r[:-1] ** 2)).max() < 100 * EPS
    assert sharpness(landscape, [x[-1], y[-1]]) == pytest.approx(2.9727, abs=5e-5)
    assert math.hypot(c[0], 2) == pytest.approx(9.1805, abs=5e-5)  # where the gradient flow ends


def test_log_cosh_ends_just_below_the_edge():
    landscape = LogCoshProduct()
    last = descend(landscape, 0.1, 1500)[-1]
    assert sharpness(landscape, last) == pytest.approx(19.8495, abs=5e-5)


@pytest.mark.parametrize("r", [0.0, 1e-9, 1e-3, 0.5, 1.0, 2.0, 30.0, 1e4])
def test_log_cosh_is_accurate_near_and_far(r):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        expected = float(mpmath.log(mpmath.cosh(mpmath.mpf(r))))
    for sign in (1, -1):
        value = LogCoshProduct(depth=1).value([sign * r])
        assert value == pytest.approx(expected, rel=10 * EPS, abs=0)


def test_matrix_factorization_comes_to_the_edge_through_spikes():
    landscape, eta = MatrixFactorization(), 0.077
    iterates = descend(landscape, eta, 1200)
    loss = np.array([landscape.value(x) for x in iterates[:140]])
    for step, height in [(37, 0.50), (60, 0.28), (100, 0.16)]:
        around = loss[step - 10 : step + 11]
        assert abs(int(np.argmax(around)) - 10) <= 2
        assert around.max() == pytest.approx(height, abs=0.005)
    edge = [eta * sharpness(landscape, x) for x in iterates[20:300:3]]
    assert 1.9 < min(edge) < 2 < max(edge) < 2.5
    assert eta * sharpness(landscape, iterates[0]) == pytest.approx(0.895, abs=5e-4)
    assert eta * sharpness(landscape, iterates[-1]) == pytest.approx(2.0, abs=0.05)


def test_matrix_factorization_keeps_its_target_hashable():
    landscape = MatrixFactorization(np.eye(2), depth=1)
    assert landscape == MatrixFactorization([[1, 0], [0, 1]], depth=1)
    assert landscape.target == ((1.0, 0.0), (0.0, 1.0))
    assert landscape.parameter_names == ("W1[1,1]", "W1[1,2]", "W1[2,1]", "W1[2,2]")


@pytest.mark.parametrize("width", [1, 7, 100])
def test_linear_neurons_close_on_the_catapult(width):
    landscape, eta = LinearNeurons(width), 0.1
    f, kernel = landscape.output(landscape.start), landscape.kernel(landscape.start)
    assert (f, kernel) == (pytest.approx(1, rel=1e-13), pytest.approx(30, rel=1e-13))
    for x in descend(landscape, eta, 60):
        assert landscape.output(x) == pytest.approx(f, rel=1e-9, abs=1e-12)
        assert landscape.kernel(x) == pytest.approx(kernel, rel=1e-9)
        rate = eta * f**2 / width
        f, kernel = f * (1 - eta * kernel + eta * rate), kernel + rate * (eta * kernel - 4)


def test_the_catapult_ends_flat():
    landscape = LinearNeurons()
    x = descend(landscape, 0.1, 300)
    assert landscape.kernel(x[0]) == pytest.approx(30, rel=100 * EPS)
    assert landscape.value(x[0]) == pytest.approx(0.5, rel=100 * EPS)
    assert landscape.kernel(x[-1]) == pytest.approx(2.22678, abs=5e-6)
    assert sharpness(landscape, x[-1]) == pytest.approx(landscape.kernel(x[-1]), rel=1e-12)


@pytest.mark.parametrize("x", [-2.0, 0.0, 1.5])
def test_sharpness_of_the_varying_trough(x):
    assert sharpness(VaryingTrough(), [x, 0.0]) == 2 * (1 + x**2)


def test_normalised_descent_moves_along_the_varying_trough():
    """To η²k = 2; the flow's own end has an error of order η, and the start's height η."""
    landscape, eta = VaryingTrough(), 0.005
    x = np.array(landscape.start)
    for _ in range(80_000):
        slope = landscape.gradient(x)
        x = x - eta * slope / math.hypot(*slope)
    assert x[0] == pytest.approx(1.01523, abs=1e-5)


def test_rosenbrock_at_its_minimum():
    assert Rosenbrock(2.0, 3.0).value([2.0, 4.0]) == 0.0
    assert sharpness(Rosenbrock(), [1.0, 1.0]) == pytest.approx(1001.6, abs=0.05)
