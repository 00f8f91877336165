"""Eigenpairs of products that are wrong, at the limits of the arithmetic, and of wrong arguments."""

import numpy as np
import pytest

import solvers
from tests.helpers.landscapes import Quadratic
from tests.solvers.spectrum.test_spectrum import Counting, check_against_lapack, rotated


@pytest.mark.parametrize("factor", [np.nan, np.inf, 1e308])
def test_products_that_stop_being_finite_give_nan(factor):
    class Failing(Counting):
        def hvp(self, x, v):
            product = super().hvp(x, v)
            if len(self.products) >= 7:
                product[1] = factor
            return product

    pairs = solvers.top_eigenpairs(Failing(np.diag(np.linspace(0, 1, 400))), np.zeros(400), 2)
    assert not pairs.converged and np.isnan(pairs.values).all()


@pytest.mark.parametrize("size", [3, 20, 60, 400])
@pytest.mark.parametrize("share", [0.1, 1.0, np.inf])
def test_products_that_are_no_hessian_give_nan(size, share):
    """A + share · B of symmetric A and antisymmetric B of the same norm, or B alone: its symmetric part is another operator."""
    root = np.random.default_rng(size).standard_normal((2, size, size))
    even, odd = root[0] + root[0].T, root[1] - root[1].T
    pairs = solvers.top_eigenpairs(
        Quadratic(odd if share == np.inf else even + share * odd), np.zeros(size), 2
    )
    assert not pairs.converged and np.isnan(pairs.values).all()


@pytest.mark.parametrize("size", [20, 400])
def test_products_by_differences_are_symmetric_enough(size):
    """To 1e-4: the eigenvalues are those of the symmetric part to the second order of that."""
    root = np.random.default_rng(size).standard_normal((2, size, size))
    even, odd = root[0] + root[0].T, root[1] - root[1].T
    pairs = solvers.top_eigenpairs(Quadratic(even + 1e-4 * odd), np.zeros(size), 2, tol=1e-3)
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(even)[::-1][:2], rtol=1e-4)
    assert pairs.converged


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "real numbers"),
        (1.0, "got shape"),
        (np.ones(59), "got shape"),
        (np.ones((60, 1)), "got shape"),
        (1j * np.ones(60), "real numbers"),
        (["1"] * 60, "real numbers"),
    ],
)
@pytest.mark.parametrize("size", [12, 60])
def test_products_of_a_wrong_kind_are_named(size, returned, message):
    class Wrong:
        def hvp(self, x, v):
            return returned

    with pytest.raises(ValueError, match=rf"objective\.hvp must return .*{message}"):
        solvers.top_eigenpairs(Wrong(), np.zeros(size))


def test_products_may_be_lists():
    class Lists:
        def hvp(self, x, v):
            return [3.0 * v[0], *v[1:]]

    assert solvers.top_eigenpairs(Lists(), np.zeros(60)).values[0] == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_near_the_underflow_a_number_is_right_or_nan(k):
    """Where not even tolerances can be resolved: 1e-300 times the machine epsilon is below the normal numbers."""
    values = np.array([1e-300] * 4 + [0.0] * 50)
    pairs = solvers.top_eigenpairs(Quadratic(np.diag(values)), np.zeros(54), k)
    said = np.isfinite(pairs.values)
    np.testing.assert_allclose(pairs.values[said], values[:k][said], rtol=1e-6, atol=1e-313)
    assert pairs.converged == said.all()


@pytest.mark.parametrize(
    "start",
    [np.zeros((2, 60)), np.full((2, 60), np.inf), np.full((2, 60), np.nan), np.ones((1, 60))],
)
def test_a_start_that_is_no_help_does_no_harm(start):
    check_against_lapack(rotated(np.linspace(-1.0, 1.0, 60) ** 3), 2, start=start)


@pytest.mark.parametrize("size", [3, 60])
def test_a_hessian_that_is_not_finite_gives_nan_and_says_so(size):
    pairs = solvers.top_eigenpairs(Quadratic(np.full((size, size), np.nan)), np.zeros(size), k=2)
    assert not pairs.converged
    assert np.all(np.isnan(pairs.values)) and np.all(np.isnan(pairs.residuals))
    assert pairs.vectors.shape == (2, size)


def test_a_search_that_runs_out_of_products_says_so(monkeypatch):
    monkeypatch.setattr("solvers.spectrum.eigenpairs._MAX_PRODUCTS", 20)
    close = np.diag(1.0 - 1e-6 * np.arange(400.0))
    pairs = solvers.top_eigenpairs(Quadratic(close), np.zeros(400), k=2, tol=1e-12)
    assert not pairs.converged
    assert np.any(np.isnan(pairs.values))


@pytest.mark.parametrize("k", [0, 6, 1.0])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be"):
        solvers.top_eigenpairs(Quadratic(np.eye(5)), np.zeros(5), k=k)


@pytest.mark.parametrize(
    ("name", "value"), [("above", "x"), ("above", np.nan), ("above", [1.0, 2.0]), ("certify", 3)]
)
def test_bad_options(name, value):
    with pytest.raises((ValueError, TypeError), match=f"{name} must be"):
        solvers.top_eigenpairs(Quadratic(np.eye(5)), np.zeros(5), **{name: value})


def test_bad_start():
    with pytest.raises(ValueError, match="start must have shape"):
        solvers.top_eigenpairs(Quadratic(np.eye(40)), np.zeros(40), start=np.ones((1, 39)))


def test_a_start_that_is_an_eigenvector_gives_the_same_every_time():
    """Its Krylov space is left by a random vector, which must be the same one in a run that is repeated."""
    quadratic = Quadratic(np.diag(np.append([3.0, 2.0, 1.0], np.zeros(57))))
    start = np.eye(60)[0]
    first, second = (solvers.top_eigenpairs(quadratic, np.ones(60), 2, start=start) for _ in "12")
    np.testing.assert_allclose(first.values, [3.0, 2.0], rtol=1e-12)
    assert first.vectors.tobytes() == second.vectors.tobytes()
