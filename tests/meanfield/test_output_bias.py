"""Networks with a trainable output bias, the mean of the last coordinates of their particles, against autograd."""

import itertools

import numpy as np
import pytest

from meanfield import Risk, TwoLayerNetwork
from meanfield.initializers import Normal
from meanfield.study.config.run_config import load
from meanfield.study.engine.build import build_problem
from meanfield.study.engine.run import run
from meanfield.study.storage.writer import read_run
from meanfield.tasks import Task
from tests.helpers.matrices import slow_unless
from tests.meanfield.kernels.test_kernels import TORCH_ACTIVATIONS
from tests.meanfield.study.conftest import SMALL

torch = pytest.importorskip("torch")

N, N_DATA, WEIGHT_DECAY = 37, 11, 0.3
# one for each kernel: a single output and few inputs, several outputs, many inputs
CASES = [
    ("tanh", "squared", 2, 1, {}),
    ("erf", "softmax", 2, 3, {"bias": False}),
    ("gelu", "logistic", 3, 1, {"train_output": False}),
    ("tanh", "squared", 40, 2, {}),
]


def problem(activation, loss, d, c, options, dtype="float64"):
    rng = np.random.default_rng(5)
    targets = {
        "squared": rng.standard_normal((N_DATA, c)),
        "logistic": rng.choice([-1.0, 1.0], (N_DATA, 1)),
        "softmax": np.eye(c)[rng.integers(0, c, N_DATA)],
    }[loss]
    network = TwoLayerNetwork(d, c, activation, output_bias=True, **options)
    task = Task(rng.standard_normal((N_DATA, d)) / np.sqrt(d), targets)
    risk = Risk(network, task, loss, WEIGHT_DECAY, dtype)
    x, u = rng.standard_normal((2, N, network.parameter_count)).astype(dtype)
    p = rng.exponential(size=N)
    return risk, x, u, p / p.sum()


def torch_risk(risk, theta, p):
    """R[Σ_i p_i δ_{θ_i}] and the outputs, from the definition."""
    net = risk.network
    c = net.output_dim
    a, w, v = theta[:, : c * net.train_output], theta[:, c * net.train_output : -c], theta[:, -c:]
    inputs, targets = torch.tensor(risk.task.inputs), torch.tensor(risk.task.targets)
    z = inputs @ w[:, : net.input_dim].T + (w[:, -1] if net.bias else 0.0)
    h = TORCH_ACTIVATIONS[net.activation](z)
    f = h @ (p[:, None] * (a if net.train_output else 1.0)) + p @ v
    if risk.loss == "squared":
        losses = 0.5 * ((f - targets) ** 2).sum(dim=1)
    elif risk.loss == "logistic":
        losses = torch.nn.functional.softplus(-targets * f, threshold=1e9).sum(dim=1)
    else:
        losses = torch.nn.functional.cross_entropy(f, targets, reduction="none")
    return losses.mean() + 0.5 * risk.weight_decay * (p * (theta**2).sum(dim=1)).sum(), f


def by_autograd(risk, x, u, p):
    """R, f, and the mean-field gradient ∂R/∂θ_i / p_i with its first and second derivative along u."""
    theta = torch.tensor(x.astype(np.float64), requires_grad=True)
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    along, p = torch.tensor(u.astype(np.float64)), torch.tensor(p)
    value, f = torch_risk(risk, theta + step * along, p)
    derivatives, jet = [], value
    for order in range(3):
        (gradient,) = torch.autograd.grad(jet, theta, retain_graph=True)
        derivatives.append((gradient / p[:, None]).numpy())
        if order < 2:
            (jet,) = torch.autograd.grad(jet, step, create_graph=True)
    return value.item(), f.detach().numpy(), *derivatives


# Sums of at most N · c products of O(1) factors, each with a few roundings: below 1e3 ε.
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("case", "dtype"),
    slow_unless(
        lambda case, dtype: case == CASES[0] and dtype == "float64",
        itertools.product(CASES, ["float64", "float32"]),
    ),
    ids=str,
)
def test_evaluations_match_autograd(case, weighted, dtype):
    risk, x, u, p = problem(*case, dtype)
    weights = p if weighted else None
    expected = by_autograd(risk, x, u, p if weighted else np.full(N, 1 / N))
    found = (
        risk.value(x, weights),
        risk.outputs(x, weights),
        risk.gradient(x, weights),
        risk.hvp(x, u, weights),
        risk.third(x, u, weights),
    )
    for mine, reference in zip(found, expected, strict=True):
        scale = max(1.0, np.max(np.abs(reference)))
        assert np.max(np.abs(mine - reference)) <= 1e3 * np.finfo(dtype).eps * scale
    assert all(array.dtype == np.dtype(dtype) for array in found[1:])
    elsewhere = risk.gradient(x, weights, at=x[3:5])
    np.testing.assert_allclose(elsewhere, found[2][3:5], rtol=0, atol=1e2 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("case",), slow_unless(lambda case: case == CASES[0], [(case,) for case in CASES]), ids=str
)
def test_without_biases_the_numbers_are_those_of_the_network_without(case):
    """At v = 0 and a direction without v nothing but zeros is added: every bit of the other coordinates is the same."""
    activation, loss, d, c, options = case
    risk, x, u, p = problem(*case)
    x[:, -c:] = u[:, -c:] = 0.0
    plain = Risk(TwoLayerNetwork(d, c, activation, **options), risk.task, loss, WEIGHT_DECAY)
    y, v = x[:, :-c].copy(), u[:, :-c].copy()
    for weights in (None, p):
        assert np.array_equal(risk.outputs(x, weights), plain.outputs(y, weights))
        assert np.array_equal(risk.gradient(x, weights)[:, :-c], plain.gradient(y, weights))
        assert np.array_equal(risk.hvp(x, u, weights)[:, :-c], plain.hvp(y, v, weights))
        assert np.array_equal(risk.third(x, u, weights)[:, :-c], plain.third(y, v, weights))


def test_the_mean_is_added_to_the_outputs_and_has_the_gradient_of_a_bias():
    risk, x, _, _ = problem(*CASES[3])
    plain = TwoLayerNetwork(40, 2)
    inputs = risk.task.inputs
    bare = plain.forward(x[:, :-2], inputs)
    np.testing.assert_allclose(
        risk.network.forward(x, inputs), bare + x[:, -2:].mean(axis=0), rtol=0, atol=1e-14
    )
    # squared loss: Σ_k r_k / n, and λ v for the weight decay
    residual = bare + x[:, -2:].mean(axis=0) - risk.task.targets
    expected = residual.mean(axis=0) + WEIGHT_DECAY * x[:, -2:]
    np.testing.assert_allclose(risk.gradient(x)[:, -2:], expected, rtol=0, atol=1e-14)
    assert risk.network.parameter_names[-3:] == ["b", "c0", "c1"]
    assert risk.network.parameter_count == len(risk.network.parameter_names) == 45


def test_initial_output_biases_have_the_scale_of_biases():
    network = TwoLayerNetwork(2, 2, output_bias=True)
    x = network.initialize(7, seed=1, init=Normal(output_scale=2.0, bias_scale=0.25))
    scales = [2.0, 2.0, 1.0, 1.0, 0.25, 0.25, 0.25]
    assert np.array_equal(x, scales * np.random.default_rng(1).standard_normal((7, 7)))


def test_a_run_with_an_output_bias(tmp_path):
    config = load(None, (*SMALL, "network.output_bias=true", "steps=3"))
    record = read_run(run(config, tmp_path)).processes["gradient_descent"]
    built = build_problem(config)
    assert built.parameter_names[-2:] == ["b", "c0"] and len(built.parameter_names) == 67
    # gradient descent from the definition, by autograd; a center is the mean of an iterate and the next one
    p = torch.full((8,), 1 / 8, dtype=torch.float64)
    iterates = [built.start]
    for _ in range(4):
        theta = torch.tensor(iterates[-1], requires_grad=True)
        (gradient,) = torch.autograd.grad(torch_risk(built.risk, theta, p)[0], theta)
        iterates.append(iterates[-1] - 0.5 * 8 * gradient.numpy())
    centers = [(x + y) / 2 for x, y in itertools.pairwise(iterates)]
    np.testing.assert_allclose(record.first, centers[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(record.last, centers[3], rtol=0, atol=1e-13)
    value, _ = torch_risk(built.risk, torch.tensor(centers[0]), p)
    assert record.observables["train_loss"][0] == pytest.approx(value.item(), rel=1e-12)
