"""Entropic and sliced distances of measures that are close to each other, or far from the origin: errors contain the truth."""

import itertools

import numpy as np
import pytest

from solvers import transport
from solvers.measures.representations import Particles
from solvers.transport import sinkhorn
from tests.helpers.matrices import slow_unless

LONG = np.longdouble


def log_sums(exponents, axis):
    top = exponents.max(axis=axis, keepdims=True)
    return (top + np.log(np.exp(exponents - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def entropic_cost(x, y, a, b, eps):
    """OT_ε in extended precision: Sinkhorn's iterations, then Newton's method on the dual, with a Hessian in double."""
    cost = ((x[:, None] - y) ** 2).sum(axis=-1)
    f, n = np.zeros(len(x), LONG), len(x)

    def softmins(f):
        g = -eps * log_sums((np.log(a) + f / eps)[:, None] - cost / eps, 0)
        return g, -eps * log_sums(np.log(b) + (g - cost) / eps, 1)

    for _ in range(200):
        g, f = softmins(f)
    for _ in range(20):
        plan = a[:, None] * b * np.exp((f[:, None] + g - cost) / eps)
        rows, columns = plan.sum(axis=1), plan.sum(axis=0)
        hessian = np.block([[np.diag(rows), plan], [plan.T, np.diag(columns)]]).astype(float)
        violated = np.concatenate([a - rows, b - columns]).astype(float)
        f = f + eps * np.clip(np.linalg.lstsq(hessian, violated, rcond=1e-14)[0][:n], -3, 3)
        g, f = softmins(f)
    assert np.abs(violated).sum() < 1e-14  # its effect is of second order
    return a @ f + b @ g


def divergence(x, y, eps):
    x, y, eps = x.astype(LONG), y.astype(LONG), LONG(eps)
    a, b = (np.full(len(z), 1 / LONG(len(z))) for z in (x, y))
    shift = x.mean(axis=0) - y.mean(axis=0)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    own = entropic_cost(x, x, a, a, eps) + entropic_cost(y, y, b, b, eps)
    return float(np.sqrt(max(np.sum(shift**2) + entropic_cost(x, y, a, b, eps) - own / 2, 0)))


@pytest.mark.skipif(np.finfo(LONG).eps > 1e-18, reason="needs extended precision")
@pytest.mark.parametrize(
    ("noise", "share"),
    slow_unless(
        lambda noise, share: share == 0.05 and noise in (1e-2, 1e-8),
        itertools.product([1.0, 1e-2, 1e-4, 1e-6, 1e-8], [0.05, 0.01, 1.0]),
    ),
)
def test_the_error_of_a_divergence_contains_the_truth(noise, share):
    """Down to where rounding is larger than the distance, in any dimension, and for points that stand twice."""
    for seed, (n, m, dimension) in enumerate([(20, 20, 2), (20, 20, 20), (12, 24, 3)]):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((n, dimension))
        y = np.repeat(x, m // n, axis=0) + noise * rng.standard_normal((m, dimension))
        eps = share * (np.var(x, axis=0).sum() + np.var(y, axis=0).sum())
        result = transport.w2(
            x, y, method="sinkhorn", regularization=eps, require_convergence=False
        )
        expected = divergence(x, y, eps)
        assert abs(result.distance - expected) <= result.error
        assert result.converged == (result.residual <= 1e-5)
        if noise >= 1e-6:
            assert result.error < 0.1 * expected  # it is told from zero
        else:
            assert result.error < 2e-7 * np.sqrt(dimension)  # root of the rounding of squares


def test_a_measure_and_itself_differ_by_no_more_than_the_error():
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal((80, 3))
        for y in (x, x[::-1], np.repeat(x, 2, axis=0)):
            result = transport.w2(x, y, method="sinkhorn")
            assert result.distance <= result.error < 1e-6


@pytest.mark.parametrize("shift", [0.0, 1e4, 1e8])
@pytest.mark.parametrize("moved", [1.0, 1e-3, 1e-6, 3e-8])
@pytest.mark.parametrize("method", ["exact", "sinkhorn", "sliced"])
def test_a_cloud_that_is_moved_as_a_whole(method, moved, shift):
    """Each distance is |translation|, the sliced one over √D. At 1e8 positions are multiples of 2⁻²⁶, and so is the move."""
    x = np.round(np.random.default_rng(0).standard_normal((90, 3)) * 2**20) / 2**20 + shift
    step = max(round(moved * 2**26), 1) / 2**26
    translation = step * np.array([1.0, 2.0, 3.0])
    expected = np.linalg.norm(translation) / (np.sqrt(3) if method == "sliced" else 1)
    result = transport.w2(x, x + translation, method=method)
    assert abs(result.distance - expected) <= result.error + result.gap + 4 * np.spacing(expected)
    assert result.error < 1e-3 * expected or moved < 1e-6
    if method != "sinkhorn":
        assert result.distance == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("s", [1e4, 1e8, 1e12])
def test_a_far_particle_with_a_regularization_of_the_others(s):
    """Where the far particle is alone in the plan, S_ε is that of the others as masses of 1/60: here y = x + translation."""
    x = np.random.default_rng(1).standard_normal((60, 3))
    x[-1] = s, 0.0, 0.0
    translation = np.array([0.3, -0.2, 0.1])
    result = transport.w2(x, x + translation, method="sinkhorn", regularization=0.5)
    assert abs(result.distance - np.linalg.norm(translation)) <= result.error < 1e-3 or s == 1e12
    y = x.copy()
    y[:-1] += translation
    parts = transport.w2(x[:-1], y[:-1], method="sinkhorn", regularization=0.5)
    # |mean| and centered part: the others' masses are 59/60 of one in both
    result = transport.w2(x, y, method="sinkhorn", regularization=0.5)
    expected = np.sqrt(59 / 60) * parts.distance
    assert abs(result.distance - expected) <= result.error + parts.error


def test_overflowing_squares():
    x = np.random.default_rng(2).standard_normal((40, 3))
    for method in ("sinkhorn", "sliced"):
        options = {"method": method, "require_convergence": False}
        near = transport.w2(x, 1.3 * x + 0.2, **options)
        for exponent in (-500, 500, 1000):
            scale = 2.0**exponent
            far = transport.w2(scale * x, scale * (1.3 * x + 0.2), **options)
            assert far.distance == near.distance * scale and far.error == near.error * scale


def test_few_more_iterations_where_the_measures_are_close(monkeypatch):
    """The potential of a measure with itself is nearly that with the other; from zero 500 iterations do not tell them apart."""
    count, softmin = [], sinkhorn.softmin
    monkeypatch.setattr(sinkhorn, "softmin", lambda *a: count.append(1) or softmin(*a))
    x, noise = np.random.default_rng(3).standard_normal((2, 200, 5))
    result = transport.w2(x, x + 1e-4 * noise, method="sinkhorn")
    assert len(count) < 600 and result.error < 0.01 * result.distance


@pytest.mark.parametrize("s", [1e4, 1e8, 1e12])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_on_the_line_masses_that_rounding_leaves_go_nowhere(s, parts):
    """A particle at s in both measures stays there, though its mass ends at another level by rounding: worth 1e8 at s = 1e12."""
    rng = np.random.default_rng(parts)
    x, w, order = np.sort(rng.standard_normal(50)), rng.random(50), rng.permutation(50)
    w, y = w / w.sum(), x + 0.1
    x[-1] = y[-1] = s
    expected = 0.1 * np.sqrt(1 - w[-1])
    shares, many = np.repeat(w / parts, parts), np.repeat(x, parts)
    measures = Particles(many, shares), Particles(y[order], w[order])
    assert transport.w2(*measures).distance == pytest.approx(expected, rel=1e-12)
    sliced = transport.w2(many[:, None], y[order, None], shares, w[order], "sliced", projections=8)
    assert sliced.distance == pytest.approx(expected, rel=1e-12)
