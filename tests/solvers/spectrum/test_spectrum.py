import itertools

import numpy as np
import pytest

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task, digits
from tests.helpers.landscapes import Quadratic
from tests.helpers.matrices import PRECISIONS, slow_unless


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
    task = Task(rng.standard_normal((9, 2)), rng.standard_normal((9, 1)), "random")
    risk = Risk(TwoLayerNetwork(2), task)
    x = risk.network.initialize(12)
    dense = np.array([risk.hvp(x, e.reshape(x.shape)).ravel() for e in np.eye(x.size)])
    values, vectors = solvers.top_eigenpairs(risk, x, k=2)
    assert np.allclose(values, np.linalg.eigvalsh(dense)[::-1][:2], rtol=1e-9)
    assert risk.inner(vectors[0], vectors[0]) == pytest.approx(1.0, rel=1e-12)


class Counting(Quadratic):
    """Counts its products."""

    def __init__(self, matrix):
        super().__init__(matrix)
        object.__setattr__(self, "products", [])

    def hvp(self, x, v):
        self.products.append(v)
        return super().hvp(x, v)


def test_a_warm_start_spares_products():
    """An eigenvalue at twice the others gains log(2 + √3)/log(10) = 0.57 digits a product."""
    matrix = np.diag(np.append(np.linspace(0.0, 1.0, 399), 2.0))
    cold, warm = Counting(matrix), Counting(1.001 * matrix)
    pairs = solvers.top_eigenpairs(cold, np.zeros(400), tol=1e-9)
    solvers.top_eigenpairs(warm, np.zeros(400), tol=1e-9, start=pairs.vectors)
    assert warm.products and len(warm.products) <= len(cold.products) - 2


@pytest.mark.slow
@pytest.mark.parametrize(("k", "most"), [(1, 8), (2, 32), (3, 45), (5, 72)])
def test_the_spectrum_along_gradient_descent_takes_few_products(k, most):
    """Every ten iterations on the digits, from the vectors of the time before, with all certainty. Eigenvalues from the second
    on are close, 0.69, 0.64, 0.63, 0.63: Chebyshev polynomials gain half a digit in three products there.
    """
    task = digits(n=300)
    risk = Risk(TwoLayerNetwork(task.inputs.shape[1]), task)
    x, vectors, counts = risk.network.initialize(400, seed=0), None, []

    class CountingRisk:
        inner = risk.inner

        def hvp(self, x, v):
            counts[-1] += 1
            return risk.hvp(x, v)

    for step in range(401):
        gradient = risk.gradient(x)
        if step % 10 == 0:
            counts.append(0)
            pairs = solvers.top_eigenpairs(CountingRisk(), x - 0.5 * gradient, k, start=vectors)
            assert pairs.converged
            vectors = pairs.vectors
        x = x - gradient
    assert np.mean(counts[1:]) <= most


@pytest.mark.parametrize("slope", [1e-12, 1e-6, 1.0])
def test_the_vectors_of_a_krylov_space_are_orthonormal_to_rounding(slope):
    """Those that products are taken of, up to the first restart. Near an eigenvector all but `slope` of a product lies in the
    space; the recurrence of three terms alone loses orthogonality as the pair converges (Paige, 1971), here up to 5e-4.
    """
    rng = np.random.default_rng(0)
    objective = Counting(np.diag(np.append(np.linspace(0.0, 1.0, 399), 4.0)))
    start = np.eye(400)[-1] + slope * rng.standard_normal(400)
    solvers.top_eigenpairs(objective, np.zeros(400), tol=1e-13, start=start, certify=False)
    vectors = np.array(objective.products)[:16]
    assert len(vectors) > 8 or slope < 1.0
    np.testing.assert_allclose(
        vectors @ vectors.T, np.eye(len(vectors)), rtol=0, atol=20 * np.finfo(float).eps
    )


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


def rotated(values, seed=0):
    """A symmetric matrix with these eigenvalues."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    matrix = (q * values) @ q.T
    return 0.5 * (matrix + matrix.T)


def check_against_lapack(matrix, k, tol=1e-6, **options):
    """By the Temple–Kato bound eigenvalues err by the square of the residual over the gap, here above a hundredth of the largest;
    where copies are missed, by the gap."""
    size = len(matrix)
    pairs = solvers.top_eigenpairs(Quadratic(matrix), np.zeros(size), k, tol, **options)
    assert pairs.converged
    exact = np.linalg.eigvalsh(matrix)[::-1][:k]
    scale = max(abs(exact).max(), 1e-300)
    np.testing.assert_allclose(pairs.values, exact, rtol=0, atol=max(100 * tol**2, 1e-13) * scale)
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(k), atol=1e-6)
    misfit = pairs.vectors @ matrix - pairs.values[:, None] * pairs.vectors
    assert np.all(np.linalg.norm(misfit, axis=1) <= tol * np.abs(exact) + 1e-13 * scale)
    return pairs


MULTIPLE = [
    [50.0] * 2 + [1.0] * 23,
    [50.0] * 10 + [1.0] * 50,
    [1.0] * 40,
    [3.0] * 2 + [2.0] * 2 + [0.0] * 46,
    [3.0] + [2.0] * 4 + [1.0] * 5 + [0.5] * 30,
    [5.0] * 3 + [4.0] * 2 + [-1.0] * 10 + [-2.0] * 25,
    [-1.0] * 3 + [-2.0] * 57,
    [2.0] * 3 + list(np.linspace(0.0, 1.0, 77)),
    [2.0] * 7 + list(np.linspace(0.0, 1.9, 73)),
]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("values", MULTIPLE, ids=lambda v: f"{v[0]:g} and {len(v) - 1} more")
def test_multiple_eigenvalues_come_as_often_as_they_are(values, k):
    """Below, at and above the multiplicities. A Krylov space of one vector holds one eigenvector of each eigenspace."""
    check_against_lapack(rotated(np.array(values)), k)


@pytest.mark.parametrize(
    ("k", "gap"),
    slow_unless(
        lambda k, gap: k in (2, 5) and gap in (1e-2, 1e-6),
        itertools.product([1, 2, 3, 5], [1e-2, 1e-4, 1e-6, 1e-8]),
    ),
)
def test_clusters_are_resolved_to_the_tolerance(k, gap):
    """Gaps below it, at it and above it: a mixture of two eigenvectors is as good as either as far as it cannot tell them."""
    values = np.array([2.0, 2.0 - gap, 2.0 - gap, 2.0 - 3 * gap, *np.linspace(1.0, -3.0, 76)])
    for tol in (1e-3, 1e-6, 1e-10):
        pairs = solvers.top_eigenpairs(Quadratic(rotated(values)), np.zeros(80), k, tol)
        assert pairs.converged
        np.testing.assert_allclose(pairs.values, values[:k], rtol=tol)


@pytest.mark.parametrize(("seed",), slow_unless(lambda seed: seed < 2, [(i,) for i in range(8)]))
def test_multiple_eigenvalues_drawn_at_random(seed):
    """One to four distinct values at the top with multiplicities up to ten, above a continuum."""
    rng = np.random.default_rng(seed)
    tops = np.sort(rng.uniform(1.5, 9.0, rng.integers(1, 5)))
    copies = rng.integers(1, 11, len(tops))
    values = np.concatenate([np.repeat(tops, copies), rng.uniform(-2.0, 1.0, 120)])
    matrix = rotated(values, seed)
    for k in (copies[-1], copies[-1] + 1, copies.sum()):
        check_against_lapack(matrix, int(k))


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("found", [1, 2, 3])
def test_a_warm_start_that_has_missed_copies_does_not_miss_them_again(found, k):
    values = np.array([2.0] * 4 + list(np.linspace(0.0, 1.0, 96)))
    matrix = rotated(values)
    vectors = np.linalg.eigh(matrix)[1].T[::-1]
    start = np.concatenate([vectors[:found], vectors[4 : 4 + k - min(found, k)]])
    check_against_lapack(matrix, k, start=start)
    check_against_lapack(matrix, k, tol=1e-3, start=np.tile(vectors[:1], (k, 1)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("excess", [1e-3, 3e-4])
def test_what_has_just_overtaken_the_start_is_found(excess, seed):
    """Its share of the start is small, and so is its residual in the pair: share times distance."""
    rng = np.random.default_rng(seed)
    values = np.append(np.linspace(-0.3, 0.5, 998), [1.0, 1.0 + excess])
    order = rng.permutation(1000)
    old = np.eye(1000)[np.flatnonzero(order == 998)[0]]
    pairs = solvers.top_eigenpairs(
        Quadratic(np.diag(values[order])), np.zeros(1000), tol=1e-6, start=old
    )
    assert pairs.values[0] == pytest.approx(1.0 + excess, rel=1e-6)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("excess", [1e-1, 1e-2, 2e-3])
def test_what_has_overtaken_the_start_is_found_at_every_tolerance(excess, tol):
    """Nothing in the start of residual zero tells of it."""
    values = np.append(np.linspace(-0.3, 0.5, 998), [1.0, 1.0 + excess])
    pairs = solvers.top_eigenpairs(
        Quadratic(np.diag(values)), np.zeros(1000), tol=tol, start=np.eye(1000)[-2]
    )
    assert pairs.converged
    assert pairs.values[0] == pytest.approx(1.0 + excess, abs=tol)


def test_a_block_of_starts_is_used_as_a_block():
    """Three given eigenvectors of equal eigenvalues are a product each; then it takes some to tell that there is no fourth."""
    values = np.array([2.0] * 3 + [0.01 * i / 400 for i in range(397)])
    objective = Counting(np.diag(values))
    start = np.eye(400)[:3] + 1e-4 * np.random.default_rng(1).standard_normal((3, 400))
    pairs = solvers.top_eigenpairs(objective, np.zeros(400), 3, 1e-3, start)
    np.testing.assert_allclose(pairs.values, 2.0, rtol=1e-6)
    assert len(objective.products) <= 8


@pytest.mark.parametrize("k", [1, 3, 40])
def test_a_hessian_that_vanishes(k):
    pairs = solvers.top_eigenpairs(Quadratic(np.zeros((40, 40))), np.zeros(40), k)
    assert pairs.converged and not pairs.values.any() and not pairs.residuals.any()
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(k), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e100])
def test_a_hessian_of_any_scale(scale):
    matrix = rotated(np.array([2.0] * 2 + list(np.linspace(-1.0, 1.0, 38))))
    pairs = solvers.top_eigenpairs(Quadratic(scale * matrix), np.zeros(40), 2)
    np.testing.assert_allclose(pairs.values, 2.0 * scale, rtol=1e-9)


def test_all_eigenvalues_of_a_matrix_with_multiple_ones():
    values = np.repeat([3.0, 1.0, -2.0], 10)
    pairs = check_against_lapack(rotated(values), 30)
    np.testing.assert_allclose(pairs.values, values, atol=1e-12)


def test_in_single_precision_copies_are_found_too():
    """Products are good to 6e-8 of the largest eigenvalue there, times a few."""
    matrix = rotated(np.array([5.0] * 3 + [2.0] * 2 + list(np.linspace(-1.0, 1.0, 75))))
    objective, x = Quadratic(matrix.astype(np.float32)), np.zeros(80, np.float32)
    pairs = solvers.top_eigenpairs(objective, x, 5)
    assert pairs.converged and pairs.vectors.dtype == np.float32
    np.testing.assert_allclose(pairs.values, [5.0, 5.0, 5.0, 2.0, 2.0], rtol=0, atol=5e-6)
    misfit = pairs.vectors @ matrix - pairs.values[:, None] * pairs.vectors
    assert np.all(pairs.residuals <= 1e-5 * 5.0)
    np.testing.assert_allclose(np.linalg.norm(misfit, axis=1), pairs.residuals, atol=1e-5)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_network_of_identical_neurons_has_multiple_eigenvalues(dtype):
    """All neurons alike: any direction that sums to zero over them gives the same curvature, N − 1 times each."""
    rng = np.random.default_rng(0)
    task = Task(rng.standard_normal((9, 2)), rng.standard_normal((9, 1)), "random")
    risk = Risk(TwoLayerNetwork(2), task, dtype=dtype)
    x = np.repeat(risk.network.initialize(1).astype(dtype), 12, axis=0)
    units = np.eye(x.size, dtype=dtype).reshape(x.size, *x.shape)
    dense = np.array([risk.hvp(x, e).ravel() for e in units], dtype=np.float64)
    exact = np.linalg.eigvalsh(0.5 * (dense + dense.T))[::-1]
    for k in (5, 12, 14):
        pairs = solvers.top_eigenpairs(risk, x, k)
        assert pairs.converged
        accuracy = 1e-9 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(pairs.values, exact[:k], rtol=0, atol=accuracy * exact[0])


class Valleys:
    """E = ½ Σ y_i x_i², of points (x_1, y_1, x_2, …): each valley for itself."""

    def value(self, p):
        return 0.5 * float(np.sum(p[1::2] * p[::2] ** 2))

    def gradient(self, p):
        return np.stack([p[1::2] * p[::2], 0.5 * p[::2] ** 2], axis=1).ravel()

    def hvp(self, p, v):
        x, y = p[::2], p[1::2]
        return np.stack([y * v[::2] + x * v[1::2], x * v[::2]], axis=1).ravel()


@pytest.mark.parametrize("k", [1, 5, 8, 14])
def test_equal_valleys_are_equally_sharp(k):
    pairs = solvers.top_eigenpairs(Valleys(), np.tile([0.0, 6.6], 15), k=k)
    assert pairs.converged
    np.testing.assert_allclose(pairs.values, 6.6, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_only_those_above_a_bound(k):
    """Far fewer products than all of k: those below are not waited for, and those above are all there."""
    values = np.array([2.0] * 2 + list(np.linspace(-1.0, 1.0, 398)))
    some, every = (Counting(np.diag(values)) for _ in "12")
    pairs = solvers.top_eigenpairs(some, np.zeros(400), k, above=1.9)
    np.testing.assert_allclose(pairs.values[:2], 2.0 * np.ones(min(k, 2)), rtol=1e-9)
    assert pairs.converged and np.all(pairs.values[2:] < 1.0 + 1e-9)
    solvers.top_eigenpairs(every, np.zeros(400), 5)
    assert len(some.products) < len(every.products) / 2
    none = solvers.top_eigenpairs(Quadratic(np.diag(values)), np.zeros(400), k, above=2.1)
    assert none.converged and np.all(none.values < 2.0 + 1e-9)


@pytest.mark.parametrize("products", [2, 5, 9, 15, 30, 60])
def test_what_is_not_certain_is_not_said(monkeypatch, products):
    """The search being broken off anywhere, a number is NaN or right."""
    values = np.array([100.0, 100.0, 99.0, *np.linspace(1.0, 0.0, 397)])
    monkeypatch.setattr("solvers.spectrum.eigenpairs._MAX_PRODUCTS", products)
    for k in (1, 2, 3, 4):
        pairs = solvers.top_eigenpairs(Quadratic(np.diag(values)), np.zeros(400), k, tol=1e-4)
        said = np.isfinite(pairs.values)
        np.testing.assert_allclose(pairs.values[said], values[:k][said], rtol=1e-4)
        assert pairs.converged == said.all()
        assert np.all(np.isfinite(pairs.residuals) == said)
