import numpy as np
import pytest
from scipy.optimize import minimize

from solvers import solve_complementarity

# A, 𝒦 and the residual are relative: rounding of k² products of numbers of size one, with room for a condition number of 1e4.
RESIDUAL = 1e-8


def problem(k, seed, dimension=20):
    """A Gram operator (𝒦X)_ij = Σ ⟨t_ij, t_kl⟩ X_kl, as third derivatives give it, and a matrix A of both signs."""
    rng = np.random.default_rng(seed)
    t, a = rng.standard_normal((k, k, dimension)), rng.standard_normal((k, k))
    t = t + t.transpose(1, 0, 2)
    return a + a.T, np.einsum("ijm,klm->ijkl", t, t)


def applied(operator, x):
    return np.einsum("ijkl,kl->ij", operator, x)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_the_three_conditions_hold(k, seed):
    a, operator = problem(k, seed)
    solution = solve_complementarity(a, operator)
    size = np.linalg.norm(a)
    y = a + applied(operator, solution.x)
    assert np.linalg.eigvalsh(solution.x)[0] >= -1e-14 * np.linalg.norm(solution.x)
    assert np.linalg.eigvalsh(y)[0] >= -RESIDUAL * size
    assert abs(np.sum(solution.x * y)) <= RESIDUAL * size * np.linalg.norm(solution.x)
    assert np.linalg.norm(y - solution.y) <= RESIDUAL * size
    assert solution.residual <= RESIDUAL


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_minimum_of_the_quadratic_programme(seed):
    """⟨A, X⟩ + ½⟨X, 𝒦X⟩ over X = LLᵀ by SciPy: its value is known to the square of the gradient's tolerance."""
    k = 3
    a, operator = problem(k, seed)

    def energy(x):
        return np.sum(a * x) + 0.5 * np.sum(x * applied(operator, x))

    def of_factor(flat):
        factor = flat.reshape(k, k)
        slope = a + applied(operator, factor @ factor.T)
        return energy(factor @ factor.T), 2 * (slope @ factor).ravel()

    starts = np.random.default_rng(seed).standard_normal((5, k * k))
    best = min(
        minimize(of_factor, start, jac=True, method="BFGS", options={"gtol": 1e-9}).fun
        for start in starts
    )
    assert energy(solve_complementarity(a, operator).x) == pytest.approx(best, rel=1e-8)


def test_nothing_is_held_that_does_not_rise():
    solution = solve_complementarity(np.diag([0.1, 2.0]), problem(2, 0)[1])
    assert not solution.x.any() and solution.residual == 0.0


def test_a_rise_that_no_fluctuation_stops_is_an_error():
    with pytest.raises(ArithmeticError, match="no fluctuation changes it"):
        solve_complementarity(np.array([[-1.0]]), np.zeros((1, 1, 1, 1)))
