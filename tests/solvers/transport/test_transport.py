import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance_nd

from solvers import transport
from solvers.measures.quantile_functions import quantile
from solvers.measures.representations import Grid, Particles, Quantiles


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
        ({"x": np.empty((0, 2))}, r"x must have shape .*got \(0, 2\)"),
        ({"x": np.ones((3, 3))}, "y must have dimension 3, as x, got 2"),
        ({"x": [[np.nan, 0.0]]}, "x must be finite"),
        ({"a": [0.5, 0.6]}, "a must be at least 0 and sum to 1"),
        ({"a": [1.5, -0.5]}, "a must be at least 0 and sum to 1"),
        ({"a": [1.0]}, "a must have shape"),
        ({"method": "exakt"}, "method must be .*got 'exakt'"),
    ],
)
def test_bad_measures(kwargs, message):
    arguments = {"x": np.zeros((2, 2)), "y": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        transport.w2(**(arguments | kwargs))


def test_labelled_particles_need_equal_shapes():
    with pytest.raises(ValueError, match="y must have shape"):
        transport.coupled_distance(np.ones((3, 2)), np.ones((4, 2)))


@st.composite
def line_measures(draw):
    """Particles, grids and quantiles, some with atoms, ties, gaps and cells of no mass."""
    n = draw(st.integers(1, 6))
    values = np.sort(draw(arrays(float, n + 1, elements=st.floats(-3, 3))))
    masses = draw(arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    masses[draw(st.integers(0, n - 1))] = 1.0
    kind = draw(st.sampled_from(["particles", "grid", "quantiles"]))
    if kind == "particles":
        return Particles(values[:-1], masses / masses.sum())
    if kind == "grid":
        return Grid(np.arange(n + 1) + values[0], masses / masses.sum())
    return Quantiles(values)


@settings(deadline=None)
@given(line_measures(), line_measures())
def test_on_the_line_it_is_the_distance_of_quantile_functions(a, b):
    """∫ (Q_a − Q_b)² by the midpoint rule on m = 20,000 levels: of a linear piece it misses a share of 1/(4m²), of each of the at
    most 12 jumps m⁻¹ times the square of at most 15."""
    levels = (np.arange(20_000) + 0.5) / 20_000
    expected = np.mean((quantile(a.pieces(), levels) - quantile(b.pieces(), levels)) ** 2)
    result = transport.w2(a, b)
    assert result.distance**2 == pytest.approx(expected, abs=12 * 15**2 / 20_000)
    assert result.distance == pytest.approx(transport.w2(b, a).distance, rel=1e-12, abs=1e-7)
    assert transport.w2(a, a).distance == 0.0
    assert result.plan is None and result.converged


# Squares of smaller numbers underflow, which is refused: see test_exact_transport.py.
RESOLVED = st.floats(-5, 5).map(lambda x: x if abs(x) > 1e-150 else 0.0)


@settings(deadline=None, max_examples=30)
@given(arrays(float, (2, 9), elements=RESOLVED))
def test_of_equally_many_particles_it_is_the_assignment(pair):
    """Rounding of squares of size 100 shows as its root, 1e-7, where the distance is zero."""
    x, y = pair
    cost = cdist(x[:, None], y[:, None], "sqeuclidean")
    assigned = np.sqrt(cost[linear_sum_assignment(cost)].mean())
    in_order = np.sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2))
    by_quantiles = transport.w2(Particles(x), Particles(y)).distance
    assert by_quantiles == pytest.approx(assigned, rel=1e-9, abs=1e-7)
    assert by_quantiles == pytest.approx(in_order, rel=1e-9, abs=1e-7)
    assert by_quantiles == pytest.approx(transport.w2(x, y).distance, rel=1e-9, abs=1e-7)


def test_closed_forms_on_the_line():
    """An atom and a box: W2² = mean² + variance. Two boxes: of the same centre, the difference of the widths over √12."""
    box, wide = Grid([0.0, 1.0], [1.0]), Grid([-1.0, 2.0], [1.0])
    assert transport.w2(box, Particles([3.0])).distance ** 2 == pytest.approx(2.5**2 + 1 / 12)
    assert transport.w2(box, wide).distance == pytest.approx(2 / np.sqrt(12), rel=1e-14)
    halves = Quantiles([-1.0, 0.5, 2.0])
    assert transport.w2(wide, halves).distance == pytest.approx(0.0, abs=1e-15)


def test_in_the_plane_cells_of_unlike_grids_are_points_and_the_error_is_stated():
    """Gaussians N(m, s² I): W2² = |m − m'|² + 2 (s − s')², from which the cells' width keeps within the bound."""

    def gaussian(mean, scale, cells):
        return Grid.from_density(
            tuple(np.linspace(-6, 6, n + 1) for n in cells),
            lambda x: np.exp(-0.5 * np.sum((x - mean) ** 2, axis=1) / scale**2),
        )

    a, b = gaussian([0.0, 0.0], 1.0, (24, 30)), gaussian([0.7, -0.4], 1.3, (20, 30))
    result = transport.w2(a, b)
    expected = np.sqrt(0.7**2 + 0.4**2 + 2 * 0.3**2)
    bound = sum(np.hypot(12 / n, 12 / 30) / np.sqrt(12) for n in (24, 20))
    assert result.discretization_error == pytest.approx(bound)
    assert abs(result.distance - expected) < result.discretization_error
    assert transport.w2(a, a).distance == 0.0
    points = Particles(a.points, a.masses.ravel())
    assert transport.w2(points, b).distance == pytest.approx(result.distance, rel=1e-9)
    with pytest.raises(transport.TransportError, match="give a larger max_iterations than 10"):
        transport.w2(a, b, max_iterations=10)


def test_measures_and_arrays_mix():
    x = np.array([0.0, 1.0, 5.0])
    grid = Grid([0.0, 1.0], [1.0])
    as_measure = transport.w2(Particles(x, [0.2, 0.2, 0.6]), grid)
    assert transport.w2(x, grid, a=[0.2, 0.2, 0.6]).distance == as_measure.distance


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Grid([0.0, 1.0], [1.0]), np.ones((3, 2))), "y must have dimension 1, as x, got 2"),
        (
            (Quantiles([0.0, 1.0]), [0.0], [1.0]),
            "a must be None where x is a Quantiles, which has its own",
        ),
        (([[np.nan]], Quantiles([0.0, 1.0])), "x must be finite"),
        (([0.0], Quantiles([0.0, 1.0]), [np.inf]), "a must be finite"),
    ],
)
def test_bad_pairs_of_measures(arguments, message):
    with pytest.raises(ValueError, match=message):
        transport.w2(*arguments)
