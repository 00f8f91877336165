"""Gradients share an array, higher derivatives at one point its pre-activations: bit for bit those of a risk that has none."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pickle import dumps, loads

import numpy as np
import pytest

import meanfield
from meanfield._evaluation import Memory
from meanfield._kernels import two_layer

N, n, d = 40, 30, 70  # inputs enough for pre-activations to be kept


def risk(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    task = meanfield.tasks.Task(rng.standard_normal((n, d)), rng.standard_normal((n, 1)), "normal")
    return meanfield.Risk(meanfield.TwoLayerNetwork(d, 1), task, dtype=dtype)


def particles(seed, dtype="float64"):
    return meanfield.TwoLayerNetwork(d, 1).initialize(N, seed=seed, dtype=dtype)


def fresh(point, vector, **options):
    return risk(point.dtype).hvp(point, vector, **options)


@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float32", marks=[pytest.mark.slow, pytest.mark.essential])]
)
def test_again_and_elsewhere(dtype):
    shared = risk(dtype)
    x, y, *vectors = (particles(seed, dtype) for seed in range(5))
    weights = np.arange(1.0, N + 1) / np.sum(np.arange(1.0, N + 1))
    for point in (x, x.copy(), y, x):
        for v in vectors:
            np.testing.assert_array_equal(shared.hvp(point, v), fresh(point, v))
        np.testing.assert_array_equal(
            shared.hvp(point, vectors[0], weights), fresh(point, vectors[0], weights=weights)
        )


# room for everything; for all of the particles of a product only; for some of either
@pytest.mark.parametrize("particles_kept", [N, 2 * N // 3 + 1, N // 2])
def test_products_and_third_derivatives_by_turns(particles_kept, monkeypatch):
    monkeypatch.setattr(two_layer, "KEPT_BYTES", 3 * particles_kept * n * 8)
    shared, (x, y, v) = risk(), map(particles, range(3))
    for point, method in [
        (x, "hvp"),
        (x, "third"),
        (x, "hvp"),
        (y, "third"),
        (y, "hvp"),
        (x, "third"),
    ]:
        for _ in range(2):
            found, expected = getattr(shared, method)(point, v), getattr(risk(), method)(point, v)
            np.testing.assert_array_equal(found, expected)


def test_a_point_that_was_changed_in_place():
    shared, x, v = risk(), particles(0), particles(1)
    shared.hvp(x, v)
    x[3, 5] += 1e-12
    np.testing.assert_array_equal(shared.hvp(x, v), fresh(x, v))


def test_relatives_share_nothing():
    """The risk of a batch, a copy, one from a file: each has data of its own."""
    shared, x, v = risk(), particles(0), particles(1)
    expected = shared.hvp(x, v)
    batch = [2, 3, 5]
    np.testing.assert_array_equal(shared.batch(batch).hvp(x, v), risk().batch(batch).hvp(x, v))
    for twin in (deepcopy(shared), loads(dumps(shared))):
        np.testing.assert_array_equal(twin.hvp(x, v), expected)
    other = risk()
    other.gradient(x)
    assert len(dumps(shared)) == len(dumps(other))


@pytest.mark.slow
@pytest.mark.essential
def test_another_precision_has_data_of_its_own():
    single, x, v = risk("float32"), particles(0), particles(1)
    single.hvp(x.astype(np.float32), v.astype(np.float32))
    np.testing.assert_array_equal(single.as_float64().hvp(x, v), risk().hvp(x, v))


def test_threads_do_not_disturb_each_other():
    shared, vectors = risk(), [particles(seed) for seed in range(2, 10)]
    points = [particles(seed % 2) for seed in range(8)]
    expected = [fresh(x, v) for x, v in zip(points, vectors, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(shared.hvp, points, vectors))
            np.testing.assert_array_equal(found, expected)


def test_gradients_share_one_array_that_no_two_threads_have_at_once(monkeypatch):
    """A new one costs a page fault for every 4 kB: a third of the time of a gradient of the digits."""
    made, begin = [], Memory.begin

    def noted(memory, *arguments):
        before = memory._room
        known = begin(memory, *arguments)
        if memory._room is not before:
            made.append(memory.kept)
        return known

    monkeypatch.setattr(Memory, "begin", noted)
    shared, points = risk(), [particles(seed) for seed in range(8)]
    expected = [risk().gradient(x) for x in points]
    made.clear()
    np.testing.assert_array_equal([shared.gradient(x) for x in points], expected)
    np.testing.assert_array_equal([shared.value_and_gradient(x)[1] for x in points], expected)
    assert [a.shape for a in made] == [(1, N, n)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            np.testing.assert_array_equal(list(pool.map(shared.gradient, points)), expected)
    with pytest.raises(ValueError, match="weights must"):
        shared.gradient(points[0], weights=[1.0])
    np.testing.assert_array_equal(shared.gradient(points[0][:9]), risk().gradient(points[0][:9]))
