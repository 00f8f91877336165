"""Particles of unequal weight, gradients at other points, and networks of fixed output weights."""

import itertools

import numpy as np
import pytest

from meanfield import Risk, TwoLayerNetwork
from meanfield.activations import ACTIVATIONS
from meanfield.tasks import Task
from tests.helpers.matrices import PRECISIONS, slow_unless
from tests.meanfield.kernels.test_kernels import TORCH_ACTIVATIONS

torch = pytest.importorskip("torch")

D_IN, N_DATA, WEIGHT_DECAY = 2, 11, 0.03


def cases(losses, train_output):
    return slow_unless(
        lambda activation, *_: activation == "tanh",
        itertools.product(ACTIVATIONS, losses, [train_output]),
        pytest.mark.essential,
    )


TRAINED = cases(["squared", "logistic", "softmax"], True)
FIXED = cases(["squared", "logistic"], False)


class Problem:
    """A risk, weighted particles (one of weight zero), a direction and other points; ReLU's kink is kept away from."""

    def __init__(self, activation, loss, train_output=True, dtype="float64", inputs=D_IN):
        rng = np.random.default_rng(7)
        c = {"squared": 1 + train_output, "logistic": 1, "softmax": 3}[loss]
        inputs = rng.standard_normal((N_DATA, inputs))
        targets = {
            "squared": rng.standard_normal((N_DATA, c)),
            "logistic": rng.choice([-1.0, 1.0], (N_DATA, 1)),
            "softmax": np.eye(3)[rng.integers(0, 3, N_DATA)],
        }[loss]
        net = TwoLayerNetwork(inputs.shape[1], c, activation, train_output=train_output)
        self.risk = Risk(net, Task(inputs, targets, "random"), loss, WEIGHT_DECAY, dtype)
        x = 0.7 * net.initialize(40, seed=1).astype(dtype)
        if activation == "relu":
            x = x[np.abs(net.augment(inputs) @ x[:, c * train_output :].T).min(axis=0) > 1e-2]
        self.x, self.at = x[:-7], x[-7:]
        self.u = rng.standard_normal(self.x.shape).astype(dtype)
        self.p = rng.exponential(size=len(self.x))
        self.p[3] = 0.0
        self.p /= self.p.sum()


def torch_risk(risk, theta, p):
    """R[Σ_i p_i δ_{θ_i}] and the outputs, for autograd, from the definition."""
    c = risk.network.output_dim * risk.network.train_output
    inputs = torch.tensor(risk.network.augment(risk.task.inputs))
    targets = torch.tensor(risk.task.targets)
    h = TORCH_ACTIVATIONS[risk.network.activation](inputs @ theta[:, c:].T)
    f = h @ (p[:, None] * (theta[:, :c] if c else 1.0))
    if risk.loss == "squared":
        losses = 0.5 * ((f - targets) ** 2).sum(dim=1)
    elif risk.loss == "logistic":
        losses = torch.nn.functional.softplus(-targets * f, threshold=1e9).sum(dim=1)
    else:
        losses = torch.nn.functional.cross_entropy(f, targets, reduction="none")
    return losses.mean() + 0.5 * risk.weight_decay * (p * (theta**2).sum(dim=1)).sum(), f


def by_autograd(risk, x, p, at):
    """R, f and ∇_θ R'[ρ] at the points. R'[ρ](θ) is the derivative of R in a mass q that is added at θ, at q = 0."""
    points = torch.tensor(at.astype(np.float64), requires_grad=True)
    q = torch.zeros(len(at), dtype=torch.float64, requires_grad=True)
    theta = torch.cat([torch.tensor(x.astype(np.float64)), points])
    value, outputs = torch_risk(risk, theta, torch.cat([torch.tensor(p), q]))
    (variation,) = torch.autograd.grad(value, q, create_graph=True)
    (gradient,) = torch.autograd.grad(variation.sum(), points)
    return value.item(), outputs.detach().numpy(), gradient.numpy()


def close(actual, expected, tolerance):
    return np.max(np.abs(actual - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


# Sums of at most N_DATA·c products of O(1) factors, each with a few roundings: below 1e3 ε.
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("activation", "loss", "train_output"), TRAINED + FIXED)
def test_weighted_value_and_gradients_match_autograd(activation, loss, train_output, dtype):
    problem = Problem(activation, loss, train_output, dtype)
    risk, x, p = problem.risk, problem.x, problem.p
    tolerance = 1e3 * np.finfo(dtype).eps
    for at in (x, problem.at):
        value, outputs, expected = by_autograd(risk, x, p, at)
        gradient = risk.gradient(x, p, at=None if at is x else at)
        assert gradient.dtype == np.dtype(dtype)
        assert close(gradient, expected, tolerance)
    assert close(risk.outputs(x, p), outputs, tolerance)
    assert close(risk.value(x, p), value, tolerance)


@pytest.mark.parametrize(("activation", "loss", "train_output"), TRAINED + FIXED)
def test_weighted_derivatives_match_central_differences(activation, loss, train_output):
    """Error h²/6 × the third derivative + ε/h: h = 1e-5 leaves about 1e-10 of each on O(1) derivatives; 1e-8 allows O(100)."""
    problem = Problem(activation, loss, train_output)
    risk, x, u, p, h = problem.risk, problem.x, problem.u, problem.p, 1e-5
    plus, minus = x + h * u, x - h * u
    slope = (risk.value(plus, p) - risk.value(minus, p)) / (2 * h)
    assert slope == pytest.approx(np.sum(p[:, None] * risk.gradient(x, p) * u), abs=1e-8)
    expected = (risk.gradient(plus, p) - risk.gradient(minus, p)) / (2 * h)
    assert close(risk.hvp(x, u, p), expected, 1e-8)
    expected = (risk.hvp(plus, u, p) - risk.hvp(minus, u, p)) / (2 * h)
    assert close(risk.third(x, u, p), expected, 1e-8)


@pytest.mark.parametrize(("activation", "loss", "train_output"), FIXED)
def test_fixed_output_weights_of_equal_particles_match_central_differences(
    activation, loss, train_output
):
    problem = Problem(activation, loss, train_output)
    risk, x, u, h = problem.risk, problem.x, problem.u, 1e-5
    plus, minus = x + h * u, x - h * u
    slope = (risk.value(plus) - risk.value(minus)) / (2 * h)
    assert slope == pytest.approx(risk.inner(risk.gradient(x), u), abs=1e-8)
    assert close(risk.hvp(x, u), (risk.gradient(plus) - risk.gradient(minus)) / (2 * h), 1e-8)
    assert close(risk.third(x, u), (risk.hvp(plus, u) - risk.hvp(minus, u)) / (2 * h), 1e-8)


@pytest.mark.parametrize("train_output", [True, False])
def test_two_halves_of_a_particle_are_the_particle(train_output):
    """Every particle twice, with a random share of its weight each: only the rounding of the sums differs."""
    problem = Problem("tanh", "logistic", train_output)
    risk, x, u, p = problem.risk, problem.x, problem.u, problem.p
    share = np.random.default_rng(2).uniform(size=len(p))
    xx, uu, pp = np.vstack([x, x]), np.vstack([u, u]), np.concatenate([share * p, (1 - share) * p])
    assert risk.value(xx, pp) == pytest.approx(risk.value(x, p), rel=1e-14)
    for twice, once in [
        (risk.gradient(xx, pp), risk.gradient(x, p)),
        (risk.hvp(xx, uu, pp), risk.hvp(x, u, p)),
        (risk.third(xx, uu, pp), risk.third(x, u, p)),
    ]:
        assert close(twice, np.vstack([once, once]), 1e-13)


def test_equal_weights_are_the_default():
    problem = Problem("tanh", "softmax", inputs=40)
    risk, x, u = problem.risk, problem.x, problem.u
    p = np.full(len(x), 1 / len(x))
    assert risk.value(x, p) == pytest.approx(risk.value(x), rel=1e-14)
    assert close(risk.gradient(x, p), risk.gradient(x), 1e-14)
    assert close(risk.hvp(x, u, p), risk.hvp(x, u), 1e-14)
    assert np.array_equal(risk.gradient(x, at=x), risk.gradient(x))


def test_the_weighted_hessian_is_self_adjoint_in_the_weighted_inner_product():
    problem = Problem("tanh", "softmax", inputs=40)
    risk, x, u, p = problem.risk, problem.x, problem.u, problem.p
    v = np.random.default_rng(3).standard_normal(x.shape)
    left, right = (np.sum(p[:, None] * a * risk.hvp(x, b, p)) for a, b in [(u, v), (v, u)])
    assert left == pytest.approx(right, rel=1e-12)


def test_the_network_of_one_weight_per_neuron():
    """D = 1, f(x) = Σ p σ(θx): outputs, risk and gradient written out."""
    net = TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
    assert net.parameter_count == 1 and net.parameter_names == ["w0"]
    theta = net.initialize(23)
    assert theta.shape == (23, 1)
    x, y = np.linspace(-1, 2, 9)[:, None], np.linspace(0, 1, 9)[:, None] ** 2
    h = np.sin(x * theta.T)
    assert np.allclose(net.forward(theta, x), h.mean(axis=1, keepdims=True), rtol=0, atol=1e-15)
    risk = Risk(net, Task(x, y, "line"))
    p = np.linspace(1, 2, 23) / np.linspace(1, 2, 23).sum()
    residual = h @ p - y[:, 0]
    assert risk.value(theta, p) == pytest.approx(0.5 * np.mean(residual**2), rel=1e-13)
    expected = (np.cos(x * theta.T) * x).T @ residual / len(x)
    assert np.allclose(risk.gradient(theta, p)[:, 0], expected, rtol=0, atol=1e-15)


def test_fixed_output_weights_are_trainable_ones_held_at_one():
    fixed = TwoLayerNetwork(2, activation="sin", train_output=False)
    assert fixed.parameter_names == ["w0", "w1", "b"]
    theta, inputs = fixed.initialize(9), np.random.default_rng(0).standard_normal((5, 2))
    full = np.hstack([np.ones((9, 1)), theta])
    trained = TwoLayerNetwork(2, activation="sin")
    assert np.array_equal(fixed.forward(theta, inputs), trained.forward(full, inputs))


def test_bad_arguments():
    with pytest.raises(ValueError, match="output_dim must be 1 where train_output=False, got 2"):
        TwoLayerNetwork(1, 2, train_output=False)
    problem = Problem("tanh", "squared")
    risk, x, p = problem.risk, problem.x, problem.p
    with pytest.raises(ValueError, match="weights must have shape"):
        risk.value(x, p[1:])
    for bad in (p - 0.01, 2 * p, np.full(len(p), np.nan)):
        with pytest.raises(ValueError, match="weights must be (at least 0 and sum to 1|finite)"):
            risk.gradient(x, bad)
    with pytest.raises(ValueError, match="at must have shape"):
        risk.gradient(x, p, at=x[:, 1:])
