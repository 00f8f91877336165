"""The complex step on coordinates that have decayed, of which an onset depends; against closed forms and 60 digits."""

import warnings

import mpmath
import numba
import numpy as np
import pytest

import solvers
from meanfield.landscapes import Landscape, Quartic, function
from meanfield.landscapes.base import FiniteDimensional

SIZES = [1e-3, 1e-45, 1e-120, 1e-168, 1e-172, 1e-230, 1e-300]
EXTENDED = pytest.mark.skipif(
    np.finfo(np.longdouble).minexp > -16000, reason="no long double of wider range"
)


def asymmetric(x):
    return 0.5 * (x[1] + x[0]) * x[0] ** 2 - 0.03 * x[1]


def bent(x):
    return np.cosh(x[1]) * np.sin(x[0]) ** 2 + x[0] ** 3 / 7


def saturating(x):
    return x[1] * np.tanh(x[0]) ** 2 - np.exp(x[0]) * x[0] ** 3


def steep(x):
    return 1e6 * x[0] ** 2 * (1 + x[1]) + 1e9 * x[0] ** 5 / (2 + x[0])


def product(x):
    return 0.5 * (x[0] * x[1] - 1) ** 2 + x[0] ** 3 - x[0] * -x[1]


def in_mpmath(f, x):
    """∂f/∂x_1 in 60 digits beyond the size of x_1."""
    sin, cosh, tanh, exp = mpmath.sin, mpmath.cosh, mpmath.tanh, mpmath.exp
    with mpmath.workdps(1000):
        a, b = (mpmath.mpf(float(entry)) for entry in x)
        closed = {
            asymmetric: lambda: (b + mpmath.mpf(3) / 2 * a) * a,
            bent: lambda: 2 * cosh(b) * sin(a) * mpmath.cos(a) + 3 * a**2 / 7,
            saturating: lambda: 2 * b * tanh(a) * (1 - tanh(a) ** 2) - exp(a) * (a**3 + 3 * a**2),
            steep: lambda: 2e6 * a * (1 + b) + 5e9 * a**4 / (2 + a) - 1e9 * a**5 / (2 + a) ** 2,
            product: lambda: (a * b - 1) * b + 3 * a**2 + b,
        }
        return float(closed[f]())


@EXTENDED
@pytest.mark.parametrize("f", [asymmetric, bent, saturating, steep])
@pytest.mark.parametrize("small", SIZES)
@pytest.mark.parametrize("sign", [1, -1])
def test_small_slopes_have_full_relative_accuracy(f, small, sign):
    x = np.array([sign * small, 1.7])
    # a few roundings of the function's own; cosh and tanh are good to some ulp
    assert Landscape(f).gradient(x)[0] == pytest.approx(in_mpmath(f, x), rel=1e-14)


def test_slopes_that_are_sums_of_large_parts_round_like_these():
    x = np.array([1e-200, 1.7])
    expected = in_mpmath(product, x)
    assert expected < 1e-190, "the parts −1.7 and 1.7 cancel"
    assert abs(Landscape(product).gradient(x)[0] - expected) < 1e-15


@EXTENDED
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_oscillation_sets_in_where_it_does_with_the_closed_form(compiled):
    class Closed(FiniteDimensional):
        def _value(self, x):
            return asymmetric(x)

        def _gradient(self, x):
            return [x[0] * x[1] + 1.5 * x[0] ** 2, 0.5 * x[0] ** 2 - 0.03]

        _hvp = _third = None

    landscape = Landscape(numba.njit(asymmetric) if compiled else asymmetric)
    ends = []
    for objective in (landscape, Closed()):
        run = solvers.solve(
            solvers.GradientDescent(0.3), objective, [1e-3, 2.0], 60_000, save_every=60_000
        )
        assert run.status == "diverged"
        ends.append(run.times[-1])
    assert ends[0] == ends[1] == 1425
    # in 60 digits it diverges at step 1421; with a step of 1e-20 it did at 885
    assert abs(ends[0] - 1421) < 10


@EXTENDED
@pytest.mark.parametrize(
    ("ours", "f", "start", "rate", "steps"),
    [
        (Quartic(), lambda x: 5 * x[0] ** 2 - x[0] ** 4 / 4, (0.1,), 0.15, 1500),
        (Quartic(2.0, 0.5), lambda x: x[0] ** 2 - x[0] ** 4 / 8, (0.4,), 0.6, 400),
        (2 * Quartic(), lambda x: 10 * x[0] ** 2 - x[0] ** 4 / 2, (-0.1,), 0.06, 200),
    ],
)
def test_gradient_descent_is_that_of_the_closed_form(ours, f, start, rate, steps):
    runs = [
        solvers.solve(solvers.GradientDescent(rate), objective, np.array(start, float), steps)
        for objective in (Landscape(f), ours)
    ]
    by_step, closed = (np.abs(run.iterates[:, 0]) for run in runs)
    # each step rounds by some ε; a trajectory that decays forgets none of it
    seen = closed > 1e-290
    np.testing.assert_allclose(by_step[seen], closed[seen], rtol=1e-13 * steps)


@EXTENDED
@pytest.mark.parametrize(
    ("zeta", "epsilon", "start", "rate"),
    [
        (0.0, 0.03, (1e-3, 2.0), 0.3),
        (-1.0, 0.03, (1e-3, 2.2), 0.3),
        (1.0, 0.04, (1e-3, 2.0), 0.3),
        (2.0, 0.05, (-1e-2, 2.0), 0.25),
        (3.0, 0.05, (-1e-3, 2.0), 0.3),
    ],
)
def test_onsets_are_those_of_the_closed_form(zeta, epsilon, start, rate):
    def energy(x):
        return 0.5 * (x[1] + zeta * x[0]) * x[0] ** 2 - epsilon * x[1]

    def closed(x):
        return np.array([(x[1] + 1.5 * zeta * x[0]) * x[0], 0.5 * x[0] ** 2 - epsilon])

    onsets = []
    for gradient in (Landscape(energy).gradient, closed):
        x, smallest = np.array(start), 1.0
        for step in range(2000):
            x = x - rate * gradient(x)
            smallest = min(smallest, abs(x[0]))
            if smallest < 1e-170 and abs(x[0]) > 1e-2:
                onsets.append(step)
                break
    # rounding, some ε of x a step, is no more than the growth of one step
    assert len(onsets) == 2 and onsets[0] == onsets[1]


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e-170, 1e-250, 1e-300])
@pytest.mark.parametrize("derivatives", ["complex", "differences"])
def test_products_are_linear_in_small_directions(size, derivatives):
    # the squares of such directions underflow
    landscape = Landscape(bent, derivatives=derivatives)
    x, v = np.array([0.3, 1.1]), np.array([0.6, -0.8])
    np.testing.assert_allclose(landscape.hvp(x, size * v) / size, landscape.hvp(x, v), rtol=1e-6)
    tiny = landscape.third(x, 1e-140 * v)
    np.testing.assert_allclose(tiny * 1e280, landscape.third(x, v), rtol=1e-6)


@pytest.mark.parametrize("far", [1e4, 1e6, 1e8])
def test_the_step_fits_the_coordinates_that_move(far):
    landscape = Landscape(lambda x: np.sin(x[1]) + 0.5 * np.cos(x[2]) ** 2 + 1e-3 * x[0])
    x, v = np.array([far, 0.7, -0.4]), np.array([0.0, 0.6, 0.8])
    expected = [0, -np.sin(0.7) * 0.6, -np.cos(-0.8) * 0.8]
    np.testing.assert_allclose(landscape.hvp(x, v), expected, atol=1e-9)
    third = [0, -np.cos(0.7) * 0.36, 2 * np.sin(-0.8) * 0.64]
    np.testing.assert_allclose(landscape.third(x, v), third, atol=1e-6)


def narrow(x):
    """Of float64 and complex128 alone, as many functions of other libraries."""
    if x.dtype == np.clongdouble:
        raise TypeError("not supported")
    return asymmetric(x)


def narrowing(x):
    return asymmetric(x.astype(np.complex128) if np.iscomplexobj(x) else x)


@pytest.mark.parametrize("f", [narrow, narrowing])
def test_a_slope_that_cannot_be_resolved_is_announced(f):
    landscape = Landscape(f)
    landscape.gradient(np.array([1e-150, 2.0]))
    for small in (1e-190, 1e-240, 1e-300):
        with pytest.warns(RuntimeWarning, match="the slope .* of function is too small"):
            landscape.gradient(np.array([small, 2.0]))


def test_without_long_doubles_it_is_announced_too(monkeypatch):
    monkeypatch.setattr(function, "_HAS_EXTENDED_RANGE", False)
    with pytest.warns(RuntimeWarning, match="the slope .* of function is too small"):
        Landscape(asymmetric).gradient(np.array([1e-250, 2.0]))


@pytest.mark.parametrize("f", [narrow, asymmetric])
def test_slopes_that_are_zero_are_not(f):
    flat = Landscape(lambda x: f(x[:2]) + 0 * x[2] + x[3] ** 2 + x[3] ** 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient = flat.gradient(np.array([0.5, 2.0, 3.0, 0.0]))
    assert not gradient[2:].any()


def test_compiled_slopes_stop_where_they_are_not_resolved():
    gradient = Landscape(numba.njit(lambda x: x[1] * (x[0] ** 2 + 1) + x[2] ** 2)).compiled_gradient
    out = np.empty(3)
    gradient(np.array([1e-150, 2.0, 0.0]), out)
    np.testing.assert_allclose(out, [4e-150, 1, 0], rtol=1e-14)
    gradient(np.array([1e-250, 2.0, 0.0]), out)
    assert np.isnan(out[0]) and out[2] == 0


@pytest.mark.parametrize(
    ("function", "outside", "inside"),
    [
        (lambda x: np.log(x[0]), -1.5, 1 / 1.5),
        (lambda x: np.sqrt(x[0]), -1.5, 0.5 / 1.5**0.5),
        (lambda x: x[0] ** 1.5, -1.5, 1.5**1.5),
        (lambda x: x[0] - np.log(2.0 + x[0]), -3.5, 1 - 1 / 3.5),
        (lambda x: np.arcsin(x[0] / 2), 2.5, 0.5 / (1 - 0.75**2) ** 0.5),
    ],
    ids=["log", "sqrt", "power", "shifted log", "arcsin"],
)
def test_where_a_function_is_not_defined_its_gradient_is_nan(function, outside, inside):
    """The complex logarithm is, with an imaginary part of π, which is no slope times a step of 1e-100."""
    landscape = Landscape(function)
    with np.errstate(invalid="ignore"):
        assert landscape.gradient(np.array([1.5])) == pytest.approx(inside, rel=1e-14)
        assert np.isnan(landscape.gradient(np.array([outside]))).all()


def test_a_function_without_complex_numbers_says_what_to_do():
    landscape = Landscape(lambda x: np.hypot(x[0], x[1]))
    with pytest.raises(ValueError, match='complex numbers .*use derivatives="differences"'):
        landscape.gradient(np.array([3.0, 4.0]))
    by_differences = Landscape(landscape.function, derivatives="differences")
    np.testing.assert_allclose(by_differences.gradient(np.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-9)
