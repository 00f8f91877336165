"""Times of what users call, to be compared with an earlier run of the same machine (pytest-benchmark).

    pytest -m bench --benchmark-autosave                 # keeps the times in .benchmarks/
    pytest -m bench --benchmark-compare --benchmark-compare-fail=median:15%

Not part of the default run. The races against other libraries are the scripts bench_*.py.
"""

import numpy as np
import pytest

import meanfield
import solvers

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.bench


def made(particles, n, d, dtype="float64", activation="tanh", c=1):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((n, d)) / d**0.5
    task = meanfield.tasks.Task(inputs, rng.standard_normal((n, c)), "normal")
    network = meanfield.TwoLayerNetwork(d, c, activation=activation)
    return meanfield.Risk(network, task, dtype=dtype), network.initialize(particles, seed=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [(10_000, 200, 2), (10_000, 200, 10), (2000, 500, 100)], ids=str)
def test_gradient(benchmark, size, dtype):
    risk, x = made(*size, dtype)
    x = x.astype(dtype)
    assert np.all(np.isfinite(benchmark(risk.gradient, x)))


@pytest.mark.parametrize("outputs", [1, 10])
def test_gradient_of_several_outputs(benchmark, outputs):
    risk, x = made(5000, 200, 10, c=outputs)
    assert benchmark(risk.gradient, x).shape == x.shape


@pytest.mark.parametrize("activation", ["relu", "gelu", "erf", "sigmoid", "softplus", "sin"])
def test_gradient_of_other_activations(benchmark, activation):
    risk, x = made(5000, 200, 2, activation=activation)
    assert benchmark(risk.gradient, x).shape == x.shape


@pytest.mark.parametrize("derivative", ["hvp", "third"])
def test_higher_derivatives(benchmark, derivative):
    risk, x = made(10_000, 200, 2)
    v = np.random.default_rng(1).standard_normal(x.shape)
    assert benchmark(getattr(risk, derivative), x, v).shape == x.shape


@pytest.fixture
def digits():
    task = meanfield.tasks.digits(n=300)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(64), task)
    x = risk.network.initialize(400, seed=0)
    for _ in range(100):
        x = x - risk.gradient(x)
    return risk, x


def test_eigenpairs_from_a_warm_start(benchmark, digits):
    risk, x = digits
    vectors = solvers.top_eigenpairs(risk, x).vectors
    near = x - risk.gradient(x)
    assert benchmark(solvers.top_eigenpairs, risk, near, start=vectors).converged


@pytest.mark.parametrize("flow", ["GradientDescent", "FreeEnergyFlow", "EdgeFlow", "CentralFlow"])
def test_iterations_of_flows(benchmark, digits, flow):
    risk, x = digits
    run = benchmark(solvers.solve, getattr(solvers, flow)(1.0), risk, x, 5, save_every=5)
    assert run.status == "complete"


def test_a_million_steps_in_the_valley(benchmark):
    valley = meanfield.landscapes.Valley()
    flow, x0 = solvers.GradientDescent(0.3), np.array(valley.start)
    solvers.solve(flow, valley, x0, 100_000, save_every=100_000)  # compiles
    run = benchmark(solvers.solve, flow, valley, x0, 1_000_000, save_every=100_000)
    assert run.status == "complete"


@pytest.mark.parametrize("method, n", [("exact", 1000), ("sliced", 20_000), ("sinkhorn", 500)])
def test_distances(benchmark, method, n):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 3)), 0.5 * rng.standard_normal((n, 3)) + 1
    assert benchmark(solvers.transport.w2, x, y, method=method).distance > 0
