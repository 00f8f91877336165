"""Mean-field Langevin against exact laws, gradient descent, and the Gibbs measure of its mean field."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import norm

import meanfield
import solvers
from solvers.flows.langevin import Langevin, mean_field_langevin_free_energy
from solvers.measures.entropy import BlobEntropy, SpacingEntropy, reference_bandwidth
from tests.helpers.landscapes import Valley
from tests.helpers.matrices import PRECISIONS


class Confinement:
    """E[μ] = ∫ ½|θ|² dμ, of particles (N, D)."""

    def value(self, x):
        return 0.5 * float(np.mean(np.sum(x**2, axis=1)))

    def gradient(self, x):
        return x

    def hvp(self, x, v):
        return v

    def inner(self, u, v):
        return float(np.sum(u * v)) / len(u)


@dataclass(frozen=True)
class Impulse(Langevin):
    """Its noise is one at a single step, and zero at all others."""

    at: int = -1

    def noise(self, index, like):
        return np.full_like(like, float(index == self.at))


@pytest.fixture(scope="module")
def network_and_risk():
    task = meanfield.tasks.teacher_student(n=50, input_dim=1, seed=0)
    network = meanfield.TwoLayerNetwork(input_dim=1)
    return network, meanfield.Risk(network, task, weight_decay=0.1)


@pytest.mark.parametrize("substeps", [1, 3])
def test_stationary_variance_of_ornstein_uhlenbeck(substeps):
    """x ← (1 − h)x + √(2hT) ξ has the variance 2hT/(1 − (1 − h)²); the sample's has the standard error √(2/n)."""
    eta, temperature, n = 0.6, 0.7, 40_000
    h = eta / substeps
    flow = Langevin(eta, temperature, seed=1, steps_per_iteration=substeps)
    run = solvers.solve(flow, Confinement(), np.zeros((n, 1)), steps=20, save_every=20)
    assert (1 - h) ** (2 * 20 * substeps) < 1e-10
    exact = 2 * h * temperature / (1 - (1 - h) ** 2)
    error = math.sqrt(2 / n)
    assert exact / temperature - 1 > 10 * error  # so that the scheme's bias is seen
    assert np.var(run.centers[-1]) / exact == pytest.approx(1.0, abs=4 * error)
    assert abs(np.mean(run.centers[-1])) < 4 * math.sqrt(exact / n)


def law(flow, start, steps):
    """Mean and variance of the flow in Confinement: its step is affine, x → a x + Σ_i c_i ξ_i, and tells a and c itself."""
    origin, one = np.zeros((1, 1)), np.ones((1, 1))
    a = flow.step(Confinement(), 0, one)[0, 0]
    impulses = [replace(flow, at=i) for i in range(flow.steps_per_iteration)]
    variance_of_noise = sum(f.step(Confinement(), 0, origin)[0, 0] ** 2 for f in impulses)
    mean, variance = start
    for _ in range(steps):
        mean, variance = a * mean, a**2 * variance + variance_of_noise
    return np.array([mean, variance])


def test_weak_order_one():
    """Against the exact law: mean m e^{−ηt}, variance T + (v − T) e^{−2ηt}; no noise is drawn."""
    eta, temperature, start, steps = 0.3, 0.7, (1.5, 2.0), 4
    decay = math.exp(-eta * steps)
    exact = np.array([start[0] * decay, temperature + (start[1] - temperature) * decay**2])
    counts = [4, 8, 16, 32, 64]
    errors = [np.abs(law(Impulse(eta, temperature, 0, m), start, steps) - exact) for m in counts]
    slopes = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slopes == pytest.approx([1.0, 1.0], abs=0.2)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_without_temperature_it_is_gradient_descent(network_and_risk, dtype):
    network, risk = network_and_risk
    risk = meanfield.Risk(network, risk.task, weight_decay=0.1, dtype=dtype)
    x0 = network.initialize(30, dtype=dtype)
    cold = solvers.solve(Langevin(0.5, 0.0), risk, x0, steps=10)
    descent = solvers.solve(solvers.GradientDescent(0.5), risk, x0, steps=10)
    assert cold.centers.dtype == dtype
    assert np.array_equal(cold.centers, descent.iterates)
    assert np.array_equal(cold.free_energies, cold.losses)
    # On an objective of one particle likewise.
    start = np.array([0.1, 6.0])
    cold = solvers.solve(Langevin(0.3, 0.0), Valley(), start, steps=10)
    descent = solvers.solve(solvers.GradientDescent(0.3), Valley(), start, steps=10)
    assert np.array_equal(cold.centers, descent.iterates)


def test_a_run_is_repeatable_and_can_be_cut(network_and_risk):
    network, risk = network_and_risk
    x0 = network.initialize(40)
    flow = Langevin(0.5, 0.05, seed=3, steps_per_iteration=2)
    whole = solvers.solve(flow, risk, x0, steps=20)
    again = solvers.solve(Langevin(0.5, 0.05, 3, 2), risk, x0, steps=20)
    first = solvers.solve(flow, risk, x0, steps=7)
    second = solvers.solve(flow, risk, first.state, steps=13)
    other = solvers.solve(Langevin(0.5, 0.05, seed=4, steps_per_iteration=2), risk, x0, steps=20)
    assert np.array_equal(whole.centers, again.centers)
    assert np.array_equal(whole.centers[7:], second.centers)
    assert np.abs(whole.centers[1:] - other.centers[1:]).min() > 0.0
    assert whole.iterates is None and not np.any(whole.fluctuations)
    assert np.array_equal(whole.losses, whole.predicted_losses)


def test_the_noise_depends_on_seed_and_step_alone():
    flow, wide = Langevin(0.1, 1.0, seed=5), np.zeros((1000, 3))
    later, before = flow.noise(11, wide), flow.noise(10, wide)
    assert np.array_equal(flow.noise(11, wide), later)
    assert np.array_equal(flow.noise(11, wide[:64]), later[:64])
    assert np.array_equal(flow.noise(11, wide.astype("f4")), later.astype("f4"))
    assert np.intersect1d(before, later).size == 0  # not the same stream, shifted
    # Two standard normal samples of 3,000, uncorrelated: mean, covariance and Kolmogorov's distance each within 4 deviations
    # (its deviation is 0.26/√n about 0.87/√n).
    n = wide.size
    for draw in (later, before, Langevin(0.1, 1.0, seed=6).noise(11, wide)):
        ranked = norm.cdf(np.sort(draw, axis=None))
        assert abs(draw.mean()) < 4 / math.sqrt(n)
        assert np.abs(ranked - (np.arange(n) + 0.5) / n).max() < (0.87 + 4 * 0.26) / math.sqrt(n)
        if draw is not later:
            assert abs(np.mean(draw * later)) < 4 / math.sqrt(n)


def test_substeps_are_small_steps():
    """Two iterations of three substeps are six of a third of the learning rate, noise and all."""
    x0 = np.linspace(-1, 1, 12).reshape(6, 2)
    few = solvers.solve(Langevin(0.3, 0.5, 7, steps_per_iteration=3), Confinement(), x0, steps=2)
    many = solvers.solve(Langevin(0.3 / 3, 0.5, 7), Confinement(), x0, steps=6)
    assert np.array_equal(few.centers, many.centers[::3])


def test_the_free_energy_falls_on_a_network(network_and_risk):
    """At finite N it is an estimate: its increments over ten iterations, averaged over seeds, are below 4 of their standard
    errors, and the first are far below zero."""
    network, risk = network_and_risk
    entropy, runs = BlobEntropy(0.3), []
    for seed in range(8):
        flow = Langevin(0.5, 0.05, seed=seed, entropy=entropy)
        x0 = 2.0 * network.initialize(800, seed=seed)
        run = solvers.solve(flow, risk, x0, steps=60, save_every=10)
        runs.append(run.free_energies)
    direct = mean_field_langevin_free_energy(risk, run.centers[-1], 0.05, entropy)
    assert direct == run.free_energies[-1]
    assert direct == risk.value(run.centers[-1]) + 0.05 * entropy.value(run.centers[-1])
    increments = np.diff(runs, axis=1)
    mean, error = increments.mean(axis=0), increments.std(axis=0, ddof=1) / math.sqrt(len(runs))
    assert np.all(mean < 4 * error)
    assert np.all(mean[:3] < -10 * error[:3])


def gibbs(inputs, targets, temperature, decay):
    """The fixed point μ ∝ exp(−R'[μ]/T) on a grid of (a, w), by damped iteration: outputs and ∫|θ|² dμ."""
    axis = np.linspace(-6, 6, 121)
    a, w = (g.ravel()[:, None] for g in np.meshgrid(axis, axis, indexing="ij"))
    features = a * np.tanh(w * inputs[:, 0])
    square = (a**2 + w**2)[:, 0]
    outputs = np.zeros(len(inputs))
    for _ in range(2000):
        potential = features @ (outputs - targets[:, 0]) / len(inputs) + 0.5 * decay * square
        p = np.exp(-(potential - potential.min()) / temperature)
        p /= p.sum()
        change = p @ features - outputs
        outputs = outputs + 0.2 * change
        if np.abs(change).max() < 1e-12:
            return outputs, p @ square
    raise AssertionError("no fixed point")


@pytest.mark.slow
@pytest.mark.essential
def test_it_ends_in_the_gibbs_measure_of_its_mean_field(network_and_risk):
    """Up to the noise of N particles, on each output and on the second moment, and the scheme's bias: relative to T it is h/2
    times the curvature of the potential, λ and that of the data, which with residuals near 0.1 is as large."""
    network = meanfield.TwoLayerNetwork(input_dim=1, bias=False)  # whose law is one in the plane
    risk = meanfield.Risk(network, network_and_risk[1].task, weight_decay=0.1)
    temperature, eta, n, decay = 0.05, 0.2, 10_000, 0.1
    outputs, square = gibbs(risk.task.inputs, risk.task.targets, temperature, decay)
    flow = Langevin(eta, temperature, seed=2)
    run = solvers.solve(flow, risk, network.initialize(n), steps=250, save_every=250)
    x = run.centers[-1]
    bias = eta / 2 * 2 * decay
    features = x[:, :1] * np.tanh(x[:, 1:] * risk.task.inputs[:, 0])
    error = features.std(axis=0) / math.sqrt(n)
    assert np.all(np.abs(risk.outputs(x)[:, 0] - outputs) < 4 * error + bias * np.abs(outputs))
    squares = np.sum(x**2, axis=1)
    assert abs(squares.mean() - square) < 4 * squares.std() / math.sqrt(n) + bias * square


def test_free_energy_of_a_gaussian():
    """½s² − ½ log(2πe s²) at T = 1, up to the scatter √(½/n) of log ρ and of the energy, the bias log(n)/n of the gaps."""
    n, s = 20_000, 1.3
    x = s * np.random.default_rng(0).standard_normal((n, 1))
    exact = 0.5 * s**2 - 0.5 * math.log(2 * math.pi * math.e * s**2)
    error = 4 * (0.5 * s**2 + 1) * math.sqrt(2 / n) + math.log(n) / n
    default = mean_field_langevin_free_energy(Confinement(), x, 1.0)
    assert default == pytest.approx(exact, abs=error)
    raw = mean_field_langevin_free_energy(Confinement(), x, 1.0, SpacingEntropy())
    assert raw == pytest.approx(exact + np.euler_gamma, abs=error)
    assert mean_field_langevin_free_energy(Confinement(), x, 0.0) == Confinement().value(x)
    plane = np.random.default_rng(1).standard_normal((100, 2))
    blob = BlobEntropy(reference_bandwidth(plane))
    expected = Confinement().value(plane) + 2.0 * blob.value(plane)
    assert mean_field_langevin_free_energy(Confinement(), plane, 2.0) == expected


def test_without_an_estimator_there_is_no_free_energy():
    run = solvers.solve(Langevin(0.1, 1.0), Confinement(), np.ones((5, 2)), steps=2)
    assert np.all(np.isnan(run.free_energies)) and np.all(np.isfinite(run.losses))


def test_divergence_is_told():
    run = solvers.solve(Langevin(4.0, 0.1), Confinement(), np.ones((5, 2)), steps=1000)
    assert run.status == "diverged"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be .*got 0.0"),
        ({"temperature": -0.1}, "temperature must be .*got -0.1"),
        ({"temperature": math.nan}, "temperature must be .*got nan"),
        ({"temperature": "1"}, "temperature must be .*got '1'"),
        ({"seed": -1}, "seed must be .*got -1"),
        ({"seed": 2**128}, "seed must be .*got 340282"),
        ({"seed": 1.0}, "seed must be .*got 1.0"),
        ({"steps_per_iteration": 0}, "steps_per_iteration must be .*got 0"),
        ({"steps_per_iteration": True}, "steps_per_iteration must be .*got True"),
        ({"entropy": 0.3}, "entropy must be .*got 0.3"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Langevin(**({"learning_rate": 0.1, "temperature": 1.0} | arguments))


def test_bad_particles_and_steps():
    with pytest.raises(ValueError, match="temperature must be .*got -1"):
        mean_field_langevin_free_energy(Confinement(), np.ones((3, 1)), -1)
    with pytest.raises(ValueError, match="x must have distinct particles"):
        mean_field_langevin_free_energy(Confinement(), np.ones((3, 2)), 1.0)
    with pytest.raises(ValueError, match="dt must be None for .*got 0.5"):
        solvers.solve(Langevin(0.1, 1.0), Confinement(), np.ones((3, 1)), 2, dt=0.5)
