"""What is said of a run that ends with numbers that are not finite."""

import numpy as np
import pytest

import meanfield
import solvers
from solvers.objective import is_finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_entry_that_is_not_finite_is_found_wherever_it_is(bad, dtype):
    values = np.ones((2, 3, 5), dtype)
    assert is_finite(values)
    for i in range(values.size):
        values.flat[i] = bad
        assert not is_finite(values)
        values.flat[i] = 1.0


def test_large_numbers_are_finite_though_their_squares_are_not():
    with np.errstate(over="ignore"):
        assert is_finite(np.full(3, 1e300)) and is_finite(np.full(3, -3e38, np.float32))


def run(objective, x0, learning_rate, steps=200):
    return solvers.solve(solvers.GradientDescent(learning_rate), objective, x0, steps=steps)


class Square:
    """E = (x⁶)^(1/3)/2 = x²/2 of one coordinate, by way of x⁶: beyond 2·10⁶ that is more than float32 holds."""

    def value(self, x):
        return float(0.5 * np.cbrt(x[0] ** 6))

    def gradient(self, x):
        return np.cbrt(x**3 * x**3) / x  # of float32's x⁶ = ∞ the root is ∞

    def hvp(self, x, v):
        return v.copy()


def test_an_overflow_of_float32_is_called_so_where_float64_holds_it():
    big = np.array([1e8])
    single = solvers.solve(
        solvers.GradientDescent(0.5), _From(Square(), 1e8), big.astype(np.float32), 20
    )
    assert single.status == "diverged"
    assert "float32 overflow" in single.message and "dtype = 'float64' holds it" in single.message
    assert solvers.solve(solvers.GradientDescent(0.5), Square(), big, 20).status == "complete"


class _From:
    """Good to start from, then as the objective."""

    def __init__(self, objective, start):
        self.objective, self.start = objective, start
        self.value, self.hvp = objective.value, objective.hvp

    def gradient(self, x):
        if abs(x[0]) >= 0.9 * self.start:
            return 0.1 * x
        return self.objective.gradient(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_divergence_is_not_blamed_on_the_precision(dtype):
    class Parabola:
        def value(self, x):
            return float(0.5 * x @ x)

        def gradient(self, x):
            return x.copy()

        def hvp(self, x, v):
            return v.copy()

    ended = run(Parabola(), np.ones(2, dtype), 4.0, steps=2000)
    assert ended.status == "diverged" and "float32" not in ended.message
    assert "the state is not finite" in ended.message


@pytest.mark.slow
@pytest.mark.essential
def test_a_risk_of_float32_is_looked_at_in_double_precision():
    task = meanfield.tasks.digits(n=10)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(input_dim=64), task, dtype="float32")
    x = risk.network.initialize(n_particles=5, seed=0)
    risk.gradient(x)  # its inputs are kept in float32 from here on
    double = meanfield.Risk(risk.network, task)
    np.testing.assert_array_equal(risk.as_float64().gradient(x), double.gradient(x))
    assert risk.gradient(x).dtype == np.float32
