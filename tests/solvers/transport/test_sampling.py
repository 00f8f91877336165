"""Intervals for the distance of laws: how often they contain closed forms, and pairs that are never torn apart."""

import numpy as np
import pytest

from solvers import Grid, Particles, transport
from tests.helpers.matrices import slow_unless


def interval(x, y, **options):
    found = transport.w2(x, y, error="bootstrap", **options)
    assert found.plan is None and found.interval[0] <= found.distance <= found.interval[1]
    return found.interval


def hits(draw, exact, repetitions):
    found = [interval(*draw(np.random.default_rng(k))) for k in range(repetitions)]
    return sum(low <= exact <= high for low, high in found)


def shifted(rng, n=160):
    """Normal laws in the plane, W2 = 1."""
    return rng.standard_normal((n, 2)), rng.standard_normal((n, 2)) + np.array([0.6, 0.8])


def scaled(rng, n=160):
    """Spreads 1 and 2 in the plane, W2 = √2; another number of points."""
    return rng.standard_normal((n, 2)), 2.0 * rng.standard_normal((n + 40, 2))


def coupled(rng, n=160):
    """y is x, moved by (0.06, 0.08) and noise: of one index both are close, W2 = √(0.01 + 2 (√1.0001 − 1)²)."""
    x = rng.standard_normal((n, 2))
    return x, x + np.array([0.06, 0.08]) + 0.01 * rng.standard_normal((n, 2))


CASES = [(shifted, 1.0), (scaled, np.sqrt(2.0)), (coupled, 0.1)]


@pytest.mark.parametrize(("draw", "exact"), CASES)
def test_intervals_contain_the_distance_of_normal_laws(draw, exact):
    """Fewer than 9 of 12 at a rate of 0.95 have a probability of 0.2%."""
    assert hits(draw, exact, 12) >= 9


@pytest.mark.parametrize(
    ("spread",), slow_unless([0.5, 1.0].__contains__, [(0.5,), (2 / 3,), (1.0,), (1.5,)])
)
@pytest.mark.parametrize("is_coupled", [False, True])
def test_the_interval_contains_it_in_many_dimensions(spread, is_coupled):
    """N(0, 1) and N(0, s²) in 10 dimensions: W2² = 10 (1 − s)². Samples of 500 are 2 apart though they be of one law."""
    x, z = np.random.default_rng(6).standard_normal((2, 1000, 10))
    low, high = interval(x, spread * (x if is_coupled else z))
    exact = np.sqrt(10) * abs(1 - spread)
    assert low <= exact + 1e-9 and exact <= high + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "exact"), CASES)
def test_the_rate_is_the_stated_one(draw, exact):
    """Fewer than 176 of 200 at a rate of 0.95 have a probability below 1e-4."""
    assert hits(draw, exact, 200) >= 176


def test_a_coupled_pair_is_resolved_far_below_its_sampling_floor():
    x, y = coupled(np.random.default_rng(0))
    low, high = interval(x, y)
    floor = transport.w2(x[:80], x[80:]).distance
    assert high - low < 0.02 < 0.1 * floor
    low, _ = interval(x, y[np.random.default_rng(1).permutation(len(y))])
    assert low == 0.0  # other indices are an independent sample


def test_samples_of_one_law_are_not_told_apart():
    rng = np.random.default_rng(3)
    low, high = interval(*rng.standard_normal((2, 200, 3)))
    assert low == 0.0 < high < 0.6


def test_many_points_in_ten_dimensions_by_slices():
    x, y = np.random.default_rng(4).standard_normal((2, 3000, 10))
    low, high = interval(x, y + 1.0, method="sliced", projections=64)
    assert low <= 1.0 <= high < 1.1  # SW2² of a shift is |shift|²/D


def test_the_seed_is_that_of_the_partition():
    x, y = shifted(np.random.default_rng(5), 60)
    assert interval(x, y) == interval(x, y) != interval(x, y, seed=1)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.ones((9, 2)), np.ones((9, 2)), {"error": "jackknife"}, "error must be .*got 'jackknife'"),
        (np.ones((9, 2)), np.ones((7, 2)), {}, "y must have at least 8 points .* got 7"),
        (np.ones((9, 2)), np.ones((9, 3)), {}, "y must have dimension 2, as x, got 3"),
        (np.ones((9, 2)), np.ones((9, 2)), {"method": "sinkhorn"}, "method must be .*got 'sinkhorn'"),
        (Particles(np.arange(9.0), np.arange(1, 10) / 45), np.ones(9), {}, "the weights of x must be equal"),
        (np.ones(9), Grid([0.0, 1.0], [1.0]), {}, "error must be None for a Grid, got 'bootstrap'"),
    ],
)  # fmt: skip
def test_what_is_refused(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        transport.w2(x, y, **{"error": "bootstrap", **options})
