"""Landscapes made of others, and of Python functions."""

import re

import numpy as np
import pytest

from meanfield.landscapes import (
    Landscape,
    Rosenbrock,
    Scaled,
    Shifted,
    Sum,
    Valley,
)
from tests.helpers.landscape_checks import (
    EPS,
    analytic,
    analytic_in_torch,
    by_autograd,
    close,
    random_point,
)

# The algebra


def test_algebra_says_what_follows_from_the_parts():
    total = Valley() + Rosenbrock()
    assert total == Sum(Valley(), Rosenbrock())
    assert total.start == (0.0, 6.0)
    assert total.minimum is None
    assert 2.0 * Valley() == Valley() * 2 == np.float64(2.0) * Valley() == Scaled(Valley(), 2.0)
    assert (3 * (Rosenbrock().shifted([1, 2]))).minimum == 0.0
    assert (-1 * Rosenbrock()).minimum is None
    moved = Rosenbrock().shifted([1, 2])
    assert moved == Shifted(Rosenbrock(), (1.0, 2.0))
    assert moved.start == pytest.approx((-0.2, 3.0))
    assert moved.value([2.0, 3.0]) == 0.0
    free = Landscape(lambda x: np.sum(x**2))
    assert free.shifted([1.0]).start is None
    assert (free + Valley()).start == (0.0, 6.0)
    assert (free + Valley()).dimension == 2
    assert (free + Valley()).parameter_names == ("x", "y")
    with pytest.raises(TypeError):
        Valley() + 1.0
    with pytest.raises(TypeError):
        Valley() * Valley()


# From a function

#: The powers of ε that the errors are of, for gradient, hvp and third. What multiplies them, derivatives two orders up over 6 and
#: lengths (1 + |x|)², is below 100.
ORDERS = {"complex": (1, 2 / 3, 1 / 2), "differences": (2 / 3, 1 / 2, 2 / 5)}


@pytest.mark.parametrize("derivatives", ORDERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_derivatives_of_a_function_have_the_accuracy_of_their_step(derivatives, dtype):
    landscape = Landscape(analytic, dimension=3, derivatives=derivatives)
    x, u, _ = random_point(landscape, dtype=dtype)
    value, *expected = by_autograd(analytic_in_torch, x, u)
    assert landscape.value(x) == pytest.approx(value, rel=10 * EPS)
    actual = landscape.gradient(x), landscape.hvp(x, u), landscape.third(x, u)
    rounding = np.finfo(dtype).eps  # of the result, the evaluations are in float64
    for a, e, order in zip(actual, expected, ORDERS[derivatives], strict=True):
        assert a.dtype == dtype
        assert close(a, e, 100 * EPS**order + rounding)


@pytest.mark.parametrize("derivatives", ORDERS)
def test_a_function_takes_arrays_of_any_length_and_zero_directions(derivatives):
    landscape = Landscape(lambda x: np.sum(x**2), minimum=0.0, derivatives=derivatives)
    assert landscape.dimension is None
    assert landscape.start is None
    assert landscape.parameter_names == ()
    assert Landscape(analytic, dimension=2).parameter_names == ("x1", "x2")
    for n in (1, 4):
        x = np.arange(1.0, n + 1)
        assert close(landscape.gradient(x), 2 * x, 1e-9)
        assert not landscape.hvp(x, 0 * x).any()
        assert not landscape.third(x, 0 * x).any()
    with pytest.raises(ValueError, match=re.escape("x must have shape (n,) with n ≥ 1, got (0,)")):
        landscape.gradient([])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: np.sum(np.abs(x)), "be analytic, got the real .* for a complex array"),
        (lambda x: np.sum(x.real**2), "be analytic, got the real .* for a complex array"),
        (lambda x: np.sum(np.abs(x) ** 2) * x[0], "be analytic, got the slope"),
        (lambda x: np.sum(x * np.conj(x)) + x[0], "be analytic, got the slope"),
        (lambda x: x, r"shape \(2,\)"),
        (lambda x: "high", "dtype <U4"),
        (lambda x: 1j * x[0], "return a real number for a real array, got "),
    ],
)
def test_functions_that_cannot_be_differentiated_are_refused(function, message):
    landscape = Landscape(function)
    with pytest.raises(ValueError, match=f"^function must .*{message}"):
        landscape.gradient(np.array([1.0, -2.0]))
    with pytest.raises(ValueError, match="^function must "):
        landscape.hvp(np.array([1.0, -2.0]), np.ones(2))


@pytest.mark.parametrize(
    "beyond",
    [
        lambda x: np.abs(x) ** 2,
        lambda x: x * np.conj(x),
        lambda x: x.real**2 + 0 * x,
        lambda x: np.abs(x) * x,
        lambda x: x.real * x,
    ],
)
def test_a_part_that_is_not_analytic_is_found_away_from_the_start(beyond):
    def function(x):
        there = x[0] if x[0].real < 1 else beyond(x[0])
        return there**2 + np.sum(x**4)

    with pytest.raises(ValueError, match="^function must be analytic, got"):
        Landscape(function).gradient(np.array([0.9, -2.0]))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sum(x - np.log(x)),
        lambda x: np.sum(np.sqrt(x) ** 3),
        lambda x: np.sum(x**1.5) / np.sum(x[x.real > 0]),
        lambda x: np.sum(np.where(x.real > 0, x**2, x**3)),
        lambda x: np.exp(np.sum(x**6)),
    ],
)
def test_where_a_function_has_no_values_is_no_matter(function):
    x = np.array([0.2, 1.4, 0.6])
    h = 1e-6
    differences = [(function(x + e) - function(x - e)) / (2 * h) for e in h * np.eye(3)]
    np.testing.assert_allclose(Landscape(function).gradient(x), differences, rtol=1e-5)


def test_a_function_that_raises_around_the_start_is_fine_at_it():
    def function(x):
        if not 0.4 < x[0].real < 0.6:
            raise ArithmeticError("out of bounds")
        return x[0] ** 2

    assert Landscape(function).gradient([0.5])[0] == 1.0


def test_differences_serve_a_function_that_is_not_analytic():
    landscape = Landscape(lambda x: float(np.sum(np.abs(x) ** 3)), derivatives="differences")
    x = np.array([1.0, -2.0])
    assert close(landscape.gradient(x), 3 * x * np.abs(x), 1e-8)
