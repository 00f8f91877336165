import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance_nd

from solvers import transport


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 3)), rng.standard_normal((60, 3)) + 0.5


def test_equals_scipys_assignment(clouds):
    x, y = clouds
    cost = cdist(x, y, "sqeuclidean")
    rows, columns = linear_sum_assignment(cost)
    result = transport.w2(x, y)
    assert result.distance**2 == pytest.approx(cost[rows, columns].mean(), rel=1e-12)
    assert result.converged and result.error < 1e-14


def test_equals_the_sorted_formula_on_the_line():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(101), rng.exponential(size=101)
    expected = np.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2))
    assert transport.w2(x, y).distance == pytest.approx(expected, rel=1e-12)


def test_weighted_measures_of_different_sizes():
    """A point of weight 2/3 is two points of weight 1/3, for any of the two measures; and W1 = |shift| = W2 for a shift."""
    x = np.array([[0.0, 0.0], [1.0, 0.0]])
    triple = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    y = np.array([[0.3, 0.1], [0.9, -0.4], [0.2, 0.8], [1.5, 0.0]])
    a = np.array([2 / 3, 1 / 3])
    assert transport.w2(x, y, a=a).distance == pytest.approx(
        transport.w2(triple, y).distance, rel=1e-12
    )
    shift = np.array([0.3, -0.4])
    shifted = transport.w2(x, x + shift, a=a, b=a)
    assert shifted.distance == pytest.approx(0.5, rel=1e-12)
    assert shifted.distance == pytest.approx(wasserstein_distance_nd(x, x + shift, a, a), rel=1e-9)
    assert np.allclose(shifted.plan.sum(axis=1), a)


def test_symmetric_and_zero_on_itself(clouds):
    x, y = clouds
    assert transport.w2(x, y).distance == pytest.approx(transport.w2(y, x).distance, rel=1e-12)
    assert transport.w2(x, x[::-1]).distance == 0.0


def test_coupled_distance_bounds_w2(clouds):
    x, y = clouds
    assert transport.coupled_distance(x, y) >= transport.w2(x, y).distance
    assert transport.coupled_distance(x, x + 3.0) == pytest.approx(np.sqrt(27.0), rel=1e-12)


def test_an_iteration_limit_raises_with_the_remedy(clouds):
    x, y = clouds
    with pytest.raises(transport.TransportError, match="give a larger max_iterations than 3"):
        transport.w2(x, y, max_iterations=3)
    assert not transport.w2(x, y, max_iterations=3, require_convergence=False).converged


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"x": np.empty((0, 2))}, "x: shape"),
        ({"x": np.ones((3, 3))}, "y: dimension 2 came, 3 is needed"),
        ({"x": [[np.nan, 0.0]]}, "x: it has positions that are not finite"),
        ({"a": [0.5, 0.6]}, "a: non-negative weights of sum 1"),
        ({"a": [1.5, -0.5]}, "a: non-negative weights of sum 1"),
        ({"a": [1.0]}, "a: shape"),
        ({"method": "exakt"}, "method: 'exakt' came"),
    ],
)
def test_bad_measures(kwargs, message):
    arguments = {"x": np.zeros((2, 2)), "y": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        transport.w2(**(arguments | kwargs))


def test_labelled_particles_need_equal_shapes():
    with pytest.raises(ValueError, match="y: shape"):
        transport.coupled_distance(np.ones((3, 2)), np.ones((4, 2)))
