import numpy as np
import pytest

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task
from tests.landscapes import Quadratic


@pytest.fixture(params=[12, 80])
def symmetric(request):
    """Below and above the size at which the whole matrix is taken."""
    root = np.random.default_rng(1).standard_normal((request.param, request.param))
    return root + root.T


@pytest.mark.parametrize("k", [1, 3])
def test_eigenpairs_match_lapack(symmetric, k):
    """Residual below tol |λ|; by the Temple–Kato bound eigenvalues err by residual²/gap, here below 1e-9 |λ|."""
    objective, x = Quadratic(symmetric), np.zeros(len(symmetric))
    pairs = solvers.top_eigenpairs(objective, x, k=k, tol=1e-7)
    exact = np.linalg.eigvalsh(symmetric)[::-1][:k]
    assert np.allclose(pairs.values, exact, rtol=1e-9)
    assert np.all(pairs.residuals <= 1e-6 * np.abs(exact))
    assert np.allclose(pairs.vectors @ pairs.vectors.T, np.eye(k), atol=1e-6)
    assert pairs.converged


def test_the_top_is_the_largest_even_when_a_negative_one_is_larger_in_size():
    pairs = solvers.top_eigenpairs(Quadratic(np.diag(np.linspace(-9.0, 2.0, 40))), np.zeros(40))
    assert pairs.values[0] == pytest.approx(2.0, rel=1e-9)


def test_sharpness_of_a_risk_is_that_of_its_dense_mean_field_hessian():
    rng = np.random.default_rng(0)
    task = Task(rng.standard_normal((9, 3)), rng.standard_normal((9, 1)), "random")
    risk = Risk(TwoLayerNetwork(3), task)
    x = risk.network.initialize(12)
    dense = np.array([risk.hvp(x, e.reshape(x.shape)).ravel() for e in np.eye(x.size)])
    values, vectors = solvers.top_eigenpairs(risk, x, k=2)
    assert np.allclose(values, np.linalg.eigvalsh(dense)[::-1][:2], rtol=1e-9)
    assert risk.inner(vectors[0], vectors[0]) == pytest.approx(1.0, rel=1e-12)


def test_a_warm_start_spares_products():
    matrix = np.diag(np.linspace(1.0, 3.0, 400) ** 3)
    counts = []

    class Counting(Quadratic):
        def hvp(self, x, v):
            counts[-1] += 1
            return super().hvp(x, v)

    counts.append(0)
    pairs = solvers.top_eigenpairs(Counting(matrix), np.zeros(400))
    counts.append(0)
    solvers.top_eigenpairs(Counting(1.001 * matrix), np.zeros(400), start=pairs.vectors)
    assert counts[1] < counts[0] / 2


def test_a_start_that_another_eigenvector_has_overtaken_is_left():
    """At the old top itself the Krylov space of the start alone has one dimension, and its residual is zero."""
    values = np.append(np.linspace(-0.3, 0.5, 2000), [1.0, 1.02])
    old = np.eye(len(values))[-2]
    pairs = solvers.top_eigenpairs(Quadratic(np.diag(values)), np.zeros(len(values)), start=old)
    assert pairs.values[0] == pytest.approx(1.02, rel=1e-9)


def test_residuals_are_those_of_the_pairs():
    """Those of the recurrence are exact up to the rounding of some tens of products with a matrix of norm 9."""
    matrix = np.diag(np.linspace(-9.0, 2.0, 60))
    pairs = solvers.top_eigenpairs(Quadratic(matrix), np.zeros(60), k=3, tol=1e-4)
    measured = np.linalg.norm(
        pairs.vectors @ matrix - pairs.values[:, None] * pairs.vectors, axis=1
    )
    assert np.all(measured > 1e-9)  # the tolerance, not rounding, decides
    assert np.allclose(pairs.residuals, measured, rtol=0, atol=1e-13)


def test_equal_eigenvalues_are_all_found():
    """A Krylov space holds one vector of an eigenspace; the others come from outside it."""
    pairs = solvers.top_eigenpairs(Quadratic(np.eye(40)), np.zeros(40), k=3)
    assert np.allclose(pairs.values, 1.0, rtol=1e-12)
    assert np.allclose(pairs.vectors @ pairs.vectors.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("size", [3, 60])
def test_a_hessian_that_is_not_finite_gives_nan_and_says_so(size):
    pairs = solvers.top_eigenpairs(Quadratic(np.full((size, size), np.nan)), np.zeros(size), k=2)
    assert not pairs.converged
    assert np.all(np.isnan(pairs.values)) and np.all(np.isnan(pairs.residuals))
    assert pairs.vectors.shape == (2, size)


def test_a_search_that_runs_out_of_products_says_so(monkeypatch):
    monkeypatch.setattr("solvers.spectrum._MAX_PRODUCTS", 20)
    close = np.diag(1.0 - 1e-6 * np.arange(400.0))
    pairs = solvers.top_eigenpairs(Quadratic(close), np.zeros(400), k=2, tol=1e-12)
    assert not pairs.converged
    assert np.any(np.isnan(pairs.values))


@pytest.mark.parametrize("k", [0, 6, 1.0])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be"):
        solvers.top_eigenpairs(Quadratic(np.eye(5)), np.zeros(5), k=k)


def test_bad_start():
    with pytest.raises(ValueError, match="start: shape"):
        solvers.top_eigenpairs(Quadratic(np.eye(40)), np.zeros(40), start=np.ones((1, 39)))


def test_a_start_that_is_an_eigenvector_gives_the_same_every_time():
    """Its Krylov space is left by a random vector, which must be the same one in a run that is repeated."""
    quadratic = Quadratic(np.diag(np.append([3.0, 2.0, 1.0], np.zeros(57))))
    start = np.eye(60)[0]
    first, second = (solvers.top_eigenpairs(quadratic, np.ones(60), 2, start=start) for _ in "12")
    np.testing.assert_allclose(first.values, [3.0, 2.0], rtol=1e-12)
    assert first.vectors.tobytes() == second.vectors.tobytes()
