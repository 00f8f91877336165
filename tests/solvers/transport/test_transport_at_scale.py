"""Sliced and entropic transport, lazy costs, and what they cost, against POT and closed forms."""

import subprocess
import sys
import tracemalloc

import numpy as np
import ot
import pytest
from threadpoolctl import threadpool_limits

from solvers import transport
from solvers.measures.representations import Grid, Particles, Quantiles
from solvers.transport import sinkhorn, sliced


def clouds(n, m, dimension, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dimension)), 1.4 * rng.standard_normal((m, dimension)) + 0.3


def weights(n, seed):
    w = np.random.default_rng(seed).random(n)
    w[n // 2] = 0.0
    return w / w.sum()


def gaussian_grid(mean, scale, cells):
    """N(mean, scale² I) on points of a line or a plane: sums over them are integrals of what is wider than a cell."""
    axis = np.linspace(-7.5, 7.5, cells) * scale
    points = np.stack(np.meshgrid(*[axis] * len(mean)), axis=-1).reshape(-1, len(mean))
    masses = np.exp(-0.5 * np.sum(points**2, axis=1) / scale**2)
    kept = masses > 1e-13
    return points[kept] + mean, masses[kept] / masses[kept].sum()


# --- sliced --------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [90, 60, 77])
@pytest.mark.parametrize("weighted", [False, True])
def test_slices_are_those_of_pot(m, weighted):
    x, y = clouds(90, m, 4)
    a, b = (weights(90, 1), weights(m, 2)) if weighted else (np.full(90, 1 / 90), np.full(m, 1 / m))
    theta = sliced.directions(4, 32, seed=3).reshape(-1, 4)
    ours = np.sqrt(sliced.slices(x, y, a, b, theta).mean())
    assert ours == pytest.approx(
        ot.sliced_wasserstein_distance(x, y, a, b, projections=theta.T), rel=1e-10
    )
    result = transport.w2(x, y, a, b, "sliced", projections=32, seed=3)
    assert result.distance == pytest.approx(ours, rel=1e-13)


def test_directions_are_orthogonal_in_groups_and_uniform():
    theta = sliced.directions(5, 20_000, seed=0)
    gram = np.einsum("gkd,gld->gkl", theta, theta)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(5), gram.shape), atol=1e-14)
    each = theta[:, 2]  # 4,000 independent ones: moments of the uniform law to 4 standard errors
    assert np.abs(each.mean(axis=0)).max() < 4 / np.sqrt(5 * 4000)
    np.testing.assert_allclose(np.mean(each**4, axis=0), 3 / 35, atol=4 * 0.16 / np.sqrt(4000))
    assert sliced.directions(3000, 20, 0).shape == (10, 2, 3000)
    assert sliced.directions(3, 26, 0).shape == (9, 3, 3)


def test_a_shift_has_no_error_of_sampling():
    """SW2² = |shift|²/D, which whole bases of directions integrate exactly."""
    x, _ = clouds(200, 1, 6)
    shift = np.arange(6.0)
    result = transport.w2(x, x + shift, method="sliced", projections=48)
    assert result.distance == pytest.approx(np.linalg.norm(shift) / np.sqrt(6), rel=1e-12)
    assert result.error < 1e-12


def test_gaussians_have_their_sliced_distance():
    """Between N(m, s² I) and N(m', s'² I), SW2² = |m − m'|²/D + (s − s')², here of standard normal quantiles in the plane."""
    (x, a), (y, b) = gaussian_grid([0.0, 0.0], 1.0, 101), gaussian_grid([0.6, -0.8], 1.5, 101)
    result = transport.w2(x, y, a, b, "sliced", projections=40)
    assert result.distance**2 == pytest.approx(0.5 + 0.25, abs=2e-4)  # the grid's width 0.15: h²/12


def test_the_error_is_that_of_the_directions():
    """Over seeds the distance scatters about the mean of many directions by its standard error: χ² of 40 within 99.9%."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((100, 3)) * [1, 2, 4], rng.standard_normal((80, 3)) * [3, 1, 0.5]
    best = transport.w2(x, y, method="sliced", projections=30_000, seed=99)
    results = [transport.w2(x, y, method="sliced", projections=96, seed=s) for s in range(40)]
    scores = [(r.distance - best.distance) / r.error for r in results]
    assert 18 < np.sum(np.square(scores)) < 76
    assert best.error < np.mean([r.error for r in results]) / 10
    assert results[0].plan is None and results[0].converged


def test_it_is_at_most_the_distance_over_the_root_of_the_dimension():
    x, y = clouds(50, 70, 5)
    result = transport.w2(x, y, method="sliced")
    assert 0 < result.distance <= transport.w2(x, y).distance / np.sqrt(5) + 3 * result.error
    assert transport.w2(x, x[::-1], method="sliced").distance == 0.0
    line = transport.w2(x[:, 0], y[:, 0], method="sliced", projections=9)
    assert line.distance == pytest.approx(transport.w2(x[:, 0], y[:, 0]).distance, rel=1e-12)


def test_sliced_depends_on_the_seed_and_not_on_threads_or_blocks(monkeypatch):
    x, y = clouds(700, 400, 40)
    distances = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            distances.append(transport.w2(x, y, method="sliced", seed=1).distance)
    assert distances[0] == distances[1]
    assert transport.w2(x, y, method="sliced", seed=2).distance != distances[0]
    monkeypatch.setattr(sliced, "BLOCK", 1000)
    assert transport.w2(x, y, method="sliced", seed=1).distance == pytest.approx(
        distances[0], rel=1e-12
    )


# --- Sinkhorn ------------------------------------------------------------------------------------


def gaussian_divergence(s, t, eps, dimension):
    """S_ε of N(0, s² I) and N(0, t² I) with D(s, t) = √(4 s² t² + ε²/4): Janati et al. 2020, ε = 2σ²."""

    def cost(s, t):
        d = np.sqrt(4 * s**2 * t**2 + eps**2 / 4)
        return dimension * (s**2 + t**2 - d + 0.5 * eps * (np.log(d + 0.5 * eps) + 1 - np.log(eps)))

    return cost(s, t) - 0.5 * (cost(s, s) + cost(t, t))


@pytest.mark.parametrize(
    ("eps", "shift", "cells"), [(None, [1.0], 151), (0.6, [1.0], 101), (4.0, [0.6, -0.8], 31)]
)
def test_gaussians_have_their_divergence(eps, shift, cells):
    """To rounding and the tolerance, whose effect on the value is of second order."""
    (x, a), (y, b) = (
        gaussian_grid(np.zeros_like(shift), 1.0, cells),
        gaussian_grid(shift, 1.5, cells),
    )
    result = transport.w2(x, y, a, b, "sinkhorn", regularization=eps)
    if eps is None:
        assert result.regularization == pytest.approx(0.05 * (1 + 2.25), rel=1e-6)
    expected = 1.0 + gaussian_divergence(1.0, 1.5, result.regularization, len(shift))
    assert result.distance**2 == pytest.approx(expected, rel=1e-6)
    assert result.error <= 1e-5 and result.converged and result.plan is None


@pytest.mark.parametrize("block", [2**18, 100])
def test_it_is_the_divergence_of_pot(block, monkeypatch):
    monkeypatch.setattr(sinkhorn, "BLOCK", block)
    x, y = clouds(40, 53, 3)
    a, b, eps = weights(40, 1), weights(53, 2), 2.0

    def entropic(x, y, a, b):
        x, a, y, b = x[a > 0], a[a > 0], y[b > 0], b[b > 0]
        cost = ot.dist(x, y)
        plan = ot.sinkhorn(a, b, cost, eps, method="sinkhorn_log", stopThr=1e-8, numItermax=20_000)
        return np.sum(plan * cost) + eps * np.sum(plan * np.log(plan / np.outer(a, b)))

    expected = entropic(x, y, a, b) - 0.5 * (entropic(x, x, a, a) + entropic(y, y, b, b))
    result = transport.w2(x, y, a, b, "sinkhorn", regularization=eps)
    assert result.distance**2 == pytest.approx(expected, rel=1e-7)


def test_the_divergence_between_its_limits():
    x, y = clouds(80, 60, 3)
    exact = transport.w2(x, y).distance
    little = transport.w2(x, y, method="sinkhorn", regularization=0.02, max_iterations=20_000)
    # 0 ≤ OT_ε − W2² ≤ ε log n, as no plan has more information than a measure
    assert little.distance**2 == pytest.approx(exact**2, abs=0.02 * np.log(80))
    much = transport.w2(x, y, method="sinkhorn", regularization=1e5)
    assert much.distance == pytest.approx(np.linalg.norm(x.mean(0) - y.mean(0)), rel=1e-3)
    usual = transport.w2(x, y, method="sinkhorn").distance
    assert much.distance < usual < exact
    assert transport.w2(x, x[::-1], method="sinkhorn").distance < 1e-5  # root of the value's error


def test_a_shift_only_adds_its_square():
    """Far away, too: measures are centered first. Rounding of the positions is 1e-16 · 1e6."""
    x, y = clouds(60, 50, 4)
    y += x.mean(0) - y.mean(0)
    near, far = (transport.w2(x, y + s, method="sinkhorn") for s in (0.0, 1e6))
    assert far.regularization == pytest.approx(near.regularization, rel=1e-8)
    assert far.distance == pytest.approx(2e6, rel=1e-12)
    there = transport.w2(x + 1e6, y + 1e6, method="sinkhorn")
    assert there.distance == pytest.approx(near.distance, rel=1e-6)


def test_points_of_no_extent():
    result = transport.w2([[0.0, 0.0]] * 3, [[3.0, 4.0]], method="sinkhorn")
    assert (result.distance, result.regularization) == (5.0, 0.0)


def test_too_few_iterations_raise_with_the_remedy():
    x, y = clouds(60, 50, 2)
    with pytest.raises(transport.TransportError, match="larger max_iterations than 3, or a larger"):
        transport.w2(x, y, method="sinkhorn", max_iterations=3)
    result = transport.w2(x, y, method="sinkhorn", max_iterations=3, require_convergence=False)
    assert not result.converged and result.error > 1e-5


# --- lazy costs, memory --------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_lazy_costs_give_the_same(weighted):
    x, y = clouds(120, 97, 3)
    a, b = (weights(120, 1), weights(97, 2)) if weighted else (None, None)
    dense, lazy = transport.w2(x, y, a, b), transport.w2(x, y, a, b, lazy=True)
    assert lazy.distance == pytest.approx(dense.distance, rel=1e-12)
    assert lazy.plan.nnz <= 120 + 97 and lazy.error < 1e-14
    np.testing.assert_allclose(lazy.plan.toarray().sum(axis=0), dense.plan.sum(axis=0), atol=1e-14)
    with pytest.raises(transport.TransportError, match="give a larger max_iterations than 3"):
        transport.w2(x, y, lazy=True, max_iterations=3)


def test_what_needs_too_much_is_refused_before_it_starts():
    x = np.zeros((6000, 2))
    message = (
        r"max_bytes must be at least 1\.51 GB for exact transport of 6,000 to 6,000 points, "
        r".* 1\.51 GB and \d+ s, got 1\.07 GB; lazy"
    )
    with pytest.raises(ValueError, match=message):
        transport.w2(x, x)
    with pytest.raises(ValueError, match="fewer points"):
        transport.w2(x, x, method="sinkhorn", max_bytes=1000)
    five = transport.estimate(5000, 5000, 66).bytes
    assert five <= transport.MAX_BYTES < 1.03 * five


@pytest.mark.parametrize("method", ["sliced", "sinkhorn"])
@pytest.mark.parametrize("shape", [(1500, 1200, 3), (700, 800, 400)])
@pytest.mark.parametrize("weighted", [False, True])
def test_memory_is_at_most_what_is_stated(method, shape, weighted):
    n, m, dimension = shape
    x, y = clouds(n, m, dimension)
    a, b = (weights(n, 1), weights(m, 2)) if weighted else (None, None)
    options = {"projections": 64, "max_iterations": 2, "require_convergence": False}
    tracemalloc.start()
    try:
        transport.w2(x, y, a, b, method, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    stated = transport.estimate(n, m, dimension, method, projections=64).bytes
    assert stated / 5 < peak <= stated


@pytest.mark.parametrize("points", [(300, 400), (800, 600)])
def test_the_pairs_that_sinkhorn_sums_are_as_many_as_its_time_is_for(points, monkeypatch):
    """Counted, not timed: sums over pairs, times the seconds that one is said to take in three dimensions."""
    summed, softmin = [], sinkhorn.softmin

    def counted(x, y, *rest):
        summed.append(len(x) * len(y))
        return softmin(x, y, *rest)

    monkeypatch.setattr(sinkhorn, "softmin", counted)
    transport.w2(*clouds(*points, 3), method="sinkhorn")
    stated = transport.estimate(*points, 3, "sinkhorn").seconds
    assert 1 / 4 < sum(summed) * 1.03e-8 / stated < 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("lazy", [False, True])
def test_memory_of_the_simplex_is_at_most_what_is_stated(lazy):
    """POT's own memory is only seen from outside: the largest resident size of a process."""
    code = f"""
import re, numpy as np
from solvers import transport
x, y = np.random.default_rng(0).standard_normal((2, 2500, 3))
transport.w2(x[:50], y[:50], lazy={lazy})
size = lambda: 1024 * int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])
before = size()
transport.w2(x, y + 1, lazy={lazy})
print(size() - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    stated = transport.estimate(2500, 2500, 3, lazy=lazy).bytes
    assert int(ran.stdout) <= stated
    if not lazy:
        assert int(ran.stdout) > 0.9 * stated


# --- measures and options ------------------------------------------------------------------------


def test_measures_by_every_method():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal(40), rng.exponential(size=30)
    line = Particles(x), Particles(y)
    assert transport.w2(*line, method="sliced").distance == transport.w2(*line).distance
    entropic = transport.w2(*line, method="sinkhorn")
    assert entropic.distance == transport.w2(x, y, method="sinkhorn").distance
    with pytest.raises(ValueError, match="method must be 'exact' for quantiles"):
        transport.w2(Quantiles([0.0, 1.0]), Particles(y), method="sinkhorn")
    plane = Grid((np.arange(5.0), np.arange(4.0)), np.full((4, 3), 1 / 12))
    points = Particles(rng.standard_normal((9, 2)))
    of_plane = {m: transport.w2(plane, points, method=m) for m in transport.METHODS}
    moved = np.sqrt(2 / 12)
    assert of_plane["exact"].discretization_error == pytest.approx(moved)
    assert of_plane["sliced"].discretization_error == pytest.approx(moved / np.sqrt(2))
    assert np.isnan(of_plane["sinkhorn"].discretization_error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sliced", "projections": 1}, "projections must be .*got 1"),
        ({"method": "sliced", "seed": -1}, "seed must be .*got -1"),
        ({"method": "sinkhorn", "regularization": 0.0}, "regularization must be .*got 0.0"),
        ({"method": "sinkhorn", "tolerance": np.nan}, "tolerance must be .*got nan"),
        ({"max_iterations": 0}, "max_iterations must be .*got 0"),
        ({"max_bytes": 1.5}, "max_bytes must be .*got 1.5"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        transport.w2(np.zeros((2, 2)), np.ones((3, 2)), **options)
    with pytest.raises(ValueError, match="method must be .*got 'x'"):
        transport.estimate(1, 1, 1, "x")
