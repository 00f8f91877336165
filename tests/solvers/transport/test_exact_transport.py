"""Exact transport of points of very different scales, against SciPy's assignment of what is near, and the proofs it carries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, kron, vstack
from scipy.spatial.distance import cdist

from solvers import transport
from solvers.transport import exact as exact_transport
from solvers.transport._pot import ot

FAR = [1e4, 1e6, 1e7, 1e8, 1e10, 1e12, 1e60, 1e140]


def assigned(x, y):
    """Σ_i |x_i − y_π(i)|² of the best permutation π, by SciPy."""
    cost = cdist(x, y, "sqeuclidean")
    return cost[linear_sum_assignment(cost)].sum()


def far_pair(s, n=200, seed=0):
    """Normal points and the same moved by ½ in every coordinate, the last in both at (s, 0, 0); W2, as that one stays."""
    x = np.random.default_rng(seed).standard_normal((n, 3))
    y = x + 0.5
    x[-1] = y[-1] = s, 0.0, 0.0
    return x, y, np.sqrt(assigned(x[:-1], y[:-1]) / n)


@pytest.fixture
def simplex_calls(monkeypatch):
    calls = []
    for name in ("emd", "emd2_lazy"):
        solver = getattr(ot, name)
        monkeypatch.setattr(
            ot, name, lambda *a, s=solver, **k: calls.append(s.__name__) or s(*a, **k)
        )
    return calls


def check(result, expected):
    """The gap is small, and true."""
    assert result.converged
    assert result.distance == pytest.approx(expected, rel=1e-13)
    assert abs(result.distance - expected) <= result.gap + 4 * np.spacing(expected)
    assert result.gap <= 1e-10 * expected


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("s", FAR)
def test_a_far_particle_hides_nothing(s, lazy):
    x, y, expected = far_pair(s)
    order = np.random.default_rng(1).permutation(len(x))
    check(transport.w2(x, y, lazy=lazy), expected)
    check(transport.w2(x[order], y, lazy=lazy), expected)
    twice = transport.w2(x, np.repeat(y, 2, axis=0)[::-1], lazy=lazy)
    check(twice, expected)
    plan = twice.plan.toarray() if lazy else twice.plan
    np.testing.assert_allclose(plan.sum(axis=1), 1 / 200, rtol=1e-14)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / 400, rtol=1e-14)


@pytest.mark.parametrize("s", [1e4, 1e8, 1e12])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_a_far_particle_of_a_weight_that_is_rounded(s, parts):
    """w/3 + w/3 + w/3 is w but for rounding, which at s = 1e12 would be worth 1e7 in W2². A point of weight k/N is k points."""
    x, y, _ = far_pair(s, n=60)
    rng = np.random.default_rng(parts)
    counts = rng.integers(1, 6, 60)
    w, order = counts / counts.sum(), rng.permutation(60)
    near = np.repeat(np.arange(59), counts[:-1])
    expected = np.sqrt(assigned(x[near], y[near]) / counts.sum())
    shares = np.repeat(w / parts, parts)
    check(transport.w2(np.repeat(x, parts, axis=0), y[order], shares, w[order]), expected)


@pytest.mark.parametrize("dof", [0.3, 0.5, 1.0, 2.0])
def test_heavy_tails(dof):
    """y = x + noise, x of Student's t: coordinates up to 1e11 with 0.3 degrees of freedom."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x = rng.standard_t(dof, (80, 3))
        y = x + 0.5 * rng.standard_normal((80, 3))
        expected, order = np.sqrt(assigned(x, y) / 80), rng.permutation(80)
        check(transport.w2(x[order], y), expected)
        check(transport.w2(x, np.repeat(y, 2, axis=0), lazy=seed == 0), expected)


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9, 1e-12])
def test_distances_far_below_the_points_own(noise):
    """The costs of most pairs are 1, those of the plan 1e-24 at the least: each particle is nearest to its own."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((150, 4))
    y = x + noise * rng.standard_normal((150, 4))
    expected, order = np.sqrt(np.mean(np.sum((x - y) ** 2, axis=1))), rng.permutation(150)
    check(transport.w2(x, y), expected)
    check(transport.w2(x[order], y), expected)
    check(transport.w2(x, np.repeat(y, 3, axis=0)[::-1]), expected)


@pytest.mark.parametrize("s", [1e3, 1e6, 1e9, 1e12])
def test_far_clusters(s):
    """As many points in a cluster of x as of y: each is assigned by itself."""
    rng = np.random.default_rng(3)
    cluster = rng.integers(0, 5, 120)
    centers = s * rng.standard_normal((5, 3))
    x, y = (centers[cluster] + rng.standard_normal((120, 3)) for _ in range(2))
    total = sum(assigned(x[cluster == k], y[cluster == k]) for k in range(5))
    order = rng.permutation(120)
    check(transport.w2(x, y[order]), np.sqrt(total / 120))
    check(transport.w2(x, np.repeat(y[order], 2, axis=0)), np.sqrt(total / 120))


@pytest.mark.parametrize("shift", [1e8, 1e12])
def test_translations(shift):
    """No digit is lost: differences of positions are exact, sums of squares would be rounded to 1e8."""
    x, y = np.random.default_rng(4).standard_normal((2, 90, 5)) + shift
    check(transport.w2(x, y), np.sqrt(assigned(x - shift, y - shift) / 90))
    check(transport.w2(x, y - 2 * shift), np.sqrt(assigned(x, y - 2 * shift) / 90))


@pytest.mark.parametrize("scale", [1e-200, 1e-15, 1e15, 1e150, 1e300])
def test_scales(scale):
    """Costs of 1e30, and squares that over- and underflow."""
    x, y = np.random.default_rng(5).standard_normal((2, 70, 3))
    expected = np.sqrt(assigned(x, y) / 70) * scale
    result = transport.w2(x * scale, y * scale)
    assert result.distance == pytest.approx(expected, rel=1e-13) and result.gap < 1e-10 * expected
    coupled = np.sqrt(np.mean(np.sum((x - y) ** 2, axis=1))) * scale
    assert transport.coupled_distance(x * scale, y * scale) == pytest.approx(coupled, rel=1e-13)


def linear_programme(x, y, a, b):
    n, m = len(x), len(y)
    sums = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))])
    cost = cdist(x, y, "sqeuclidean")
    return np.sqrt(linprog(cost.ravel(), A_eq=sums, b_eq=np.concatenate([a, b])).fun)


@pytest.mark.parametrize("s", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("lazy", [False, True])
def test_any_weights_by_linear_programming(s, lazy):
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((40, 2)), rng.standard_normal((31, 2)) + 0.3
    x[0], y[0] = (s, 0), (s, 1)
    a, b = rng.random(40), rng.random(31)
    a[3] = b[5] = 0.0
    a, b = a / a.sum(), b / b.sum()
    result = transport.w2(x, y, a, b, lazy=lazy)
    assert result.distance == pytest.approx(linear_programme(x, y, a, b), rel=1e-8)
    assert result.gap < 1e-10 * result.distance
    plan = result.plan.toarray() if lazy else result.plan
    assert np.abs(plan.sum(axis=0) - b).max() <= result.error + 1e-17 < 1e-14
    assert not plan[3].any() and not plan[:, 5].any()


def test_masses_below_rounding_that_have_far_to_go_are_no_silent_error():
    """Of weights 1e-20 and 2e-20 at s = 1e12 a mass of 1e-20 goes as far, worth 1e4 in W2²; units of 2⁻⁵² do not show it."""
    x = np.random.default_rng(7).standard_normal((100, 2))
    x[0] = 1e12, 0.0
    rest = np.full(99, 1 / 99)
    a, b = np.concatenate([[1e-20], rest]), np.concatenate([[2e-20], rest])
    with pytest.raises(transport.TransportError, match="rounding of weights and of squares"):
        transport.w2(x, x + 0.1, a, b)
    result = transport.w2(x, x + 0.1, a, b, require_convergence=False)
    assert not result.converged and result.gap >= 0.9 * result.distance
    check(transport.w2(x, x + 0.1, a, a), np.sqrt(2) * 0.1)


def test_squares_that_underflow_beside_far_ones_are_no_silent_zero():
    x = np.array([[0.0], [1.0], [1e200]])
    with pytest.raises(transport.TransportError, match="rounding of weights and of squares"):
        transport.w2(x, x + np.array([[0.5], [0.5], [0.0]]))
    y = np.zeros((9, 1))
    y[0] = 1.0
    x = np.roll(y, 1, axis=0)
    x[0] = 1e-193
    with pytest.raises(transport.TransportError, match="rounding of weights and of squares"):
        transport.w2(x, y)
    found = transport.w2(x, y, require_convergence=False)
    assert found.distance <= 1e-193 / 3 <= found.distance + found.gap and not found.converged


def test_the_smallest_numbers_are_distances_too():
    smallest = 5e-324
    for x in ([[smallest], [0.0]], [[smallest, 0.0], [0.0, 0.0]]):
        found = transport.w2(x, np.zeros_like(x))
        assert found.converged and found.distance in (0.0, smallest)


def test_a_measure_and_itself_are_one_without_a_simplex(simplex_calls):
    x = np.random.default_rng(9).standard_normal((30, 2))
    assert transport.w2(x, x).distance == 0.0 == transport.w2(x, x).gap
    assert simplex_calls == []
    assert transport.w2(x, x[::-1]).distance == 0.0 == transport.w2(x, x[::-1]).gap
    assert transport.w2(np.repeat(x, 2, axis=0), x[::-1]).distance == 0.0


def test_lazy_costs_that_may_not_be_kept_raise(simplex_calls):
    x, y, expected = far_pair(1e8)
    x, y, expected = far_pair(1e8, n=400)
    little = transport.estimate(400, 400, 3, lazy=True).bytes
    with pytest.raises(
        transport.TransportError, match=r"may be wrong by .*lazy=False with max_bytes"
    ):
        transport.w2(x, y, lazy=True, max_bytes=little)
    kept = transport.w2(x, y, lazy=True, max_bytes=little, require_convergence=False)
    assert not kept.converged and kept.distance - kept.gap <= expected <= kept.distance
    assert simplex_calls == ["emd2_lazy"] * 2


@pytest.mark.parametrize("lazy", [False, True])
def test_points_as_they_usually_are_take_one_simplex(lazy, simplex_calls):
    rng = np.random.default_rng(8)
    for n, m, dimension in [(50, 50, 2), (120, 90, 3), (200, 200, 66)]:
        x, y = rng.standard_normal((n, dimension)), 1.3 * rng.standard_normal((m, dimension))
        result = transport.w2(x, y + 0.2, lazy=lazy)
        assert result.gap < 1e-11 * result.distance
    transport.w2(x, x[::-1] + 1e-3 * rng.standard_normal(x.shape), lazy=lazy)
    assert len(simplex_calls) == 4


def test_a_far_labelled_particle_takes_no_second_one(simplex_calls):
    x, y, _ = far_pair(1e9)
    transport.w2(x, y)
    assert len(simplex_calls) == 1


def test_a_plan_that_is_not_optimal_has_its_excess_found():
    """Three points on the line, each sent to the next: W2² = (1 + 1 + 4)/3 in place of 0."""
    x = np.arange(3.0)[:, None]
    cost = (x - x.T) ** 2
    rows, columns = np.arange(3), np.array([1, 2, 0])
    flow = exact_transport.SimplexSolution(rows, columns, np.full(3, 1 / 3), np.zeros(3), None)
    found = exact_transport.certify(
        cost.__getitem__, flow, cost[rows, columns], np.zeros(3), np.full(3, 1 / 3)
    )
    assert found.cost == pytest.approx(2.0) and found.excess == pytest.approx(2.0)
    assert np.all(found.u[:, None] + found.v <= cost)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 5),
    st.floats(0, 12),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_marginals_and_duality_of_any_points(n, m, dimension, orders, weighted, seed):
    """Positions over several orders of magnitude: P has the weights as its sums, and no exchange of two pairs of it gains."""
    rng = np.random.default_rng(seed)
    x, y = (
        rng.standard_normal((k, dimension)) * 10 ** (orders * rng.random((k, 1))) for k in (n, m)
    )
    a, b = (rng.random(k) + 0.01 if weighted else np.ones(k) for k in (n, m))
    a, b = a / a.sum(), b / b.sum()
    result = transport.w2(x, y, a, b)
    assert np.allclose(result.plan.sum(axis=1), a, rtol=1e-12, atol=0)
    assert np.allclose(result.plan.sum(axis=0), b, rtol=1e-9, atol=1e-15)
    assert result.gap <= 1e-10 * result.distance or result.distance == 0
    i, j = np.nonzero(result.plan)
    cost = cdist(x, y, "sqeuclidean")
    mass = result.plan[i, j]
    exchanged = cost[i][:, j] + cost[i][:, j].T - cost[i, j][:, None] - cost[i, j]
    gain = -np.minimum(mass[:, None], mass) * exchanged
    assert gain.max() <= 2 * result.gap * result.distance + 1e-13 * result.distance**2


@pytest.mark.parametrize(("n", "m"), [(4, 6), (7, 7), (1, 5)])
def test_equal_weights_are_whole_units(n, m):
    supplies, demands = exact_transport.whole_units(np.full(n, 1 / n), np.full(m, 1 / m))
    assert supplies.sum() == demands.sum() == np.lcm(n, m)
    assert np.all(supplies == np.lcm(n, m) / n) and np.all(demands == np.lcm(n, m) / m)


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_units_are_weights_to_rounding(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(n) ** 8 + 1e-9, rng.random(m)
    a, b = a / a.sum(), b / b.sum()
    supplies, demands = exact_transport.whole_units(a, b)
    assert supplies.sum() == demands.sum() and np.all(supplies % 1 == 0)
    for units, weights in ((supplies, a), (demands, b)):
        # half a unit, an even share of the half units that all of them may lack, and one
        assert np.abs(units * 2.0**-52 - weights).max() <= 2.0**-53 * (3 + (n + m) / min(n, m))


@pytest.mark.parametrize("n", [12, 300])  # differences by NumPy, and by SciPy
def test_particles_nearest_to_their_own_need_no_simplex(simplex_calls, n):
    """If every x_i is nearest to y_i, or every y_i to x_i, no plan is better than the identity."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 40))
    y = x + 0.1 * rng.standard_normal((n, 40))
    expected = np.sqrt(assigned(x, y) / n)
    check(transport.w2(x, y), expected)
    spread = (
        x * np.linspace(1.0, 3.0, n)[:, None]
    )  # far from others, which are nearer to it than they to theirs
    check(transport.w2(x, spread), np.sqrt(assigned(x, spread) / n))
    check(transport.w2(spread, x), np.sqrt(assigned(x, spread) / n))
    assert not simplex_calls
    check(transport.w2(x, y[::-1]), expected)
    assert simplex_calls == ["emd"]
    np.testing.assert_array_equal(transport.w2(x, y).plan, np.eye(n) / n)
