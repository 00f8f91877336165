"""That the identity is an optimal plan is said only where SciPy's assignment has nothing better, and where theory knows it is."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from solvers import transport
from solvers._kernels import weighted_nearest as kernels
from solvers.jko.particles import identity_plan
from solvers.jko.particles.identity_plan import identity_is_optimal
from solvers.jko.particles.plans import Plan, optimal_plan

EPS = np.finfo(float).eps


def uniform(n):
    return np.full(n, 1 / n)


def excess(x, y):
    """Cost of the identity above the least."""
    cost = cdist(x, y, "sqeuclidean")
    return cost.trace() - cost[linear_sum_assignment(cost)].sum()


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_it_is_never_said_in_vain(dimension):
    """Clouds of a few particles moved by more and more: from all optimal to none."""
    said = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y = rng.standard_normal((rng.integers(1, 9), dimension))
        x = y + 10 ** rng.uniform(-3, 0.5) * rng.standard_normal(y.shape)
        if identity_is_optimal(x, y):
            said += 1
            assert excess(x, y) <= 64 * EPS * np.sum(x**2 + y**2)
        elif dimension == 1:  # where the test is exact
            assert excess(x, y) > 0
    assert 100 < said < 290


@pytest.mark.parametrize("size", [0.01, 0.3, 1.0])
def test_gradients_of_convex_functions_are_recognised(size):
    """x = ∇ψ(y), ψ = ½|y|² + size Σ_k log cosh y_k: Brenier says the identity is optimal, though all pass their neighbours."""
    y = np.random.default_rng(0).standard_normal((400, 2))
    assert identity_is_optimal(y + size * np.tanh(y), y)
    assert identity_is_optimal(y / (1 + size), y)


@pytest.mark.parametrize("gradient", [0.0, 0.1])
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_tree_finds_the_nearest_with_weights(dimension, gradient):
    """Whatever the gradient said to it; against all pairs."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 300, dimension))
    x[:20], w = x[20:40], rng.standard_normal(300)
    nodes = 127
    low, high, beta = np.empty((3, nodes, dimension))
    starts, ends = np.empty((2, nodes), np.int64)
    tree = np.arange(300), starts, ends, low, high, beta, np.empty(nodes)
    source, least = np.empty(300, np.intp), np.empty(300)
    kernels.build(x, w, gradient * rng.standard_normal(x.shape), *tree)
    looked = kernels.nearest(x, w, y, *tree, source, least)
    every = cdist(y, x, "sqeuclidean") + w
    np.testing.assert_allclose(least, every.min(axis=1), rtol=1e-13)
    np.testing.assert_allclose(every[np.arange(300), source], least, rtol=1e-13)
    assert looked < 300 * 300 / 2


def test_many_particles_need_few_pairs(monkeypatch):
    """x = ∇ψ(y), past many neighbours: no more pairs per particle of ten times as many. All pairs are never looked at."""
    counts, nearest = [], kernels.nearest

    def counted(x, *rest):
        counts.append(nearest(x, *rest) / len(x))
        return counts[-1]

    monkeypatch.setattr(kernels, "nearest", counted)
    monkeypatch.setattr(identity_plan, "_shortest", None)
    for n in (1000, 10000):
        y = np.random.default_rng(0).standard_normal((n, 2))
        assert identity_is_optimal(y + 0.3 * np.tanh(y), y)
    assert max(counts) < 40


def test_of_many_particles_it_is_never_said_in_vain():
    """Moved at random, from less than the distance of neighbours to more; and two far from each other that change places."""
    said = []
    for size in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1):
        rng = np.random.default_rng(0)
        y = rng.standard_normal((1000, 2))
        x = y + 0.3 * np.tanh(y) + size * rng.standard_normal(y.shape)
        said.append(identity_is_optimal(x, y))
        assert not said[-1] or excess(x, y) <= 64 * EPS * np.sum(x**2 + y**2)
    assert said[0] and not said[-1]
    x = y + 0.3 * np.tanh(y)
    x[[3, 4]] = x[[4, 3]]
    assert not identity_is_optimal(x, y)


def test_a_rotation_is_not_one():
    y = np.random.default_rng(0).standard_normal((400, 2))
    assert not identity_is_optimal(y @ np.array([[0.0, 1.0], [-1.0, 0.0]]), y)


@pytest.mark.parametrize("past", [1e-3, -1e-3])
def test_pairs_far_apart_are_looked_at(past):
    """The first of each of two crowds leaves for the middle: they had better change places once they have passed each other."""
    crowd = 0.01 * np.random.default_rng(0).standard_normal((30, 2))
    crowd = crowd[np.argsort(np.sum((crowd - np.array([1.0, 0.0])) ** 2, axis=1))]
    y = np.concatenate([crowd, np.array([2.0, 0.0]) - crowd])
    x = y.copy()
    x[0], x[30] = [1 + past, 0.0], [1 - past, 0.0]
    assert (excess(x, y) > 1e-3) == (past > 0)
    assert identity_is_optimal(x, y) == (past < 0)


def test_particles_that_coincide():
    y = np.repeat(np.random.default_rng(0).standard_normal((20, 3)), 2, axis=0)
    assert identity_is_optimal(y + 0.01, y) and identity_is_optimal(y, y)
    # Together up to rounding, and moved by as little: which goes where cannot be told, and does not matter.
    close = y + 1e-16 * np.arange(40)[:, None]
    p = uniform(40)
    assert optimal_plan(close[::-1] + 1e-16, close[::-1], p, p, 10**9).is_identity


def test_in_many_dimensions():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((300, 66))
    assert identity_is_optimal(y + 0.3 * rng.standard_normal(y.shape), y)
    assert not identity_is_optimal(y[::-1], y)


def test_where_the_identity_is_not_optimal_the_plan_is():
    rng = np.random.default_rng(0)
    x, y, p = rng.standard_normal((50, 2)), rng.standard_normal((50, 2)), uniform(50)
    plan = optimal_plan(x, y, p, p, 10**9)
    assert not plan.is_identity and plan.matrix.nnz == 50
    assert plan.cost(x, y) == pytest.approx(Plan(p).cost(x, y) - excess(x, y) / 50, rel=1e-12)
    order = plan.matrix.toarray().argmax(axis=1)
    assert plan.project(y) == pytest.approx(y[order])


def test_equal_numbers_of_other_weights_are_not_the_identity():
    y = np.array([[0.0, 0.0], [1.0, 0.0]])
    p, q = np.array([0.4, 0.6]), np.array([0.5, 0.5])
    plan = optimal_plan(y, y, p, q, 10**9)
    assert plan.matrix.toarray() == pytest.approx(np.array([[0.4, 0.0], [0.1, 0.5]]))
    assert plan.cost(y, y) == pytest.approx(0.1)


def test_on_the_line_the_plan_is_that_of_exact_transport():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((13, 1)), rng.standard_normal((17, 1))
    p, q = rng.dirichlet(np.ones(13)), rng.dirichlet(np.ones(17))
    plan = optimal_plan(x, y, p, q, 10**9)
    assert plan.matrix.sum(axis=1) == pytest.approx(p, abs=1e-15)
    assert plan.matrix.sum(axis=0) == pytest.approx(q, abs=1e-15)
    assert plan.matrix.toarray() == pytest.approx(transport.w2(x, y, p, q).plan, abs=1e-14)
    assert plan.cost(x, y) == pytest.approx(transport.w2(x, y, p, q).distance ** 2, rel=1e-12)


def test_plans_are_glued():
    """Through the middle the masses multiply: a refinement followed by its reverse is the identity again."""
    p, half = uniform(2), uniform(4)
    y = np.array([[0.0], [1.0]])
    split = optimal_plan(np.repeat(y, 2, axis=0), y, half, p, 10**9)
    merged = optimal_plan(y, np.repeat(y, 2, axis=0), p, half, 10**9)
    assert merged.after(split).matrix.toarray() == pytest.approx(np.diag(p))
    assert Plan(p).after(merged) is merged and merged.after(Plan(half)) is merged


@pytest.mark.parametrize("s", [1e4, 1e8, 1e12])
def test_a_far_particle_is_no_excuse_for_the_others(s):
    """Tolerances that follow the largest position would take any plan of the near ones for optimal."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((100, 2))
    y[-1] = s, 0.0
    for size in (0.3, 1.0):
        x = y + size * rng.standard_normal(y.shape)
        x[-1] = s, 1.0
        assert excess(x, y) > 1.0
        assert not identity_is_optimal(x, y)
        plan = optimal_plan(x, y, uniform(100), uniform(100), 10**9)
        assert not plan.is_identity
        cost = cdist(x, y, "sqeuclidean")
        least = cost[linear_sum_assignment(cost)].mean()
        assert plan.cost(x, y) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("s", [1e4, 1e8, 1e12])
def test_far_particles_that_change_places_are_seen(s):
    """Two at a distance of 1, far from all others, which move as a convex function has them."""
    y = np.random.default_rng(0).standard_normal((100, 2))
    y[-2:] = [[s, 0.0], [s, 1.0]]
    x = y + 0.1 * np.tanh(y)
    x[-2:] = y[-2:]
    assert identity_is_optimal(x, y)
    x[-2:] = y[[-1, -2]]
    assert not identity_is_optimal(x, y)
    assert not optimal_plan(x, y, uniform(100), uniform(100), 10**9).is_identity
