"""Landscapes whose value and gradient share something have both in one call: the numbers of the two methods, bit for bit."""

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.landscapes import LANDSCAPES

PAIRS = {"matrix_factorization", "log_cosh_product", "linear_neurons"}


def test_who_has_them():
    """The others are so small that a second call costs nothing."""
    assert {
        name for name, make in LANDSCAPES.items() if hasattr(make(), "value_and_gradient")
    } == PAIRS


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(PAIRS))
def test_they_are_those_of_the_methods(name, dtype):
    landscape = LANDSCAPES[name]()
    rng = np.random.default_rng(0)
    for _ in range(5):
        x = (np.array(landscape.start) + 0.3 * rng.standard_normal(landscape.dimension)).astype(
            dtype
        )
        value, gradient = landscape.value_and_gradient(x)
        assert isinstance(value, float) and value == landscape.value(x)
        np.testing.assert_array_equal(gradient, landscape.gradient(x))
        assert gradient.dtype == dtype


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_checked_and_run(name):
    landscape = LANDSCAPES[name]()
    assert max(meanfield.check_objective(landscape, np.array(landscape.start)).values()) < 1e-3
    run = solvers.solve(solvers.GradientDescent(0.01), landscape, np.array(landscape.start), 5)
    x = np.array(landscape.start)
    for iterate in run.iterates:
        np.testing.assert_allclose(iterate, x, rtol=1e-12, atol=1e-14)
        x = x - 0.01 * landscape.gradient(x)
    with pytest.raises(ValueError, match="x must have shape"):
        landscape.value_and_gradient(np.ones((2, 2)))
