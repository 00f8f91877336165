"""Value, gradient, hvp and third derivative of the risk against PyTorch autograd and central differences."""

import itertools

import numpy as np
import pytest

from meanfield import Risk, TwoLayerNetwork
from meanfield.activations import ACTIVATIONS
from meanfield.tasks import Task
from tests.helpers.matrices import PRECISIONS, slow_unless
from tests.meanfield.kernels.test_kernels import TORCH_ACTIVATIONS

torch = pytest.importorskip("torch")

D_IN, N_DATA, N_PARTICLES, WEIGHT_DECAY = 2, 11, 37, 0.03
# Derivatives of every activation are in test_activations.py; from there on all are treated alike.
CASES = slow_unless(
    lambda activation, loss: activation == "tanh",
    itertools.product(ACTIVATIONS, ["squared", "logistic", "softmax"]),
    pytest.mark.essential,
)


def problem(activation, loss, dtype="float64", bias=True, weight_decay=WEIGHT_DECAY, inputs=D_IN):
    """A risk, its particles and a direction; ReLU's pre-activations are kept away from the kink."""
    rng = np.random.default_rng(7)
    n_outputs = {"squared": 2, "logistic": 1, "softmax": 3}[loss]
    inputs = rng.standard_normal((N_DATA, inputs))
    targets = {
        "squared": rng.standard_normal((N_DATA, 2)),
        "logistic": rng.choice([-1.0, 1.0], (N_DATA, 1)),
        "softmax": np.eye(3)[rng.integers(0, 3, N_DATA)],
    }[loss]
    net = TwoLayerNetwork(inputs.shape[1], n_outputs, activation, bias)
    risk = Risk(net, Task(inputs, targets, "random"), loss, weight_decay, dtype)
    x = 0.7 * net.initialize(N_PARTICLES, seed=1)
    if activation == "relu":
        z = net.augment(inputs) @ x[:, n_outputs:].T
        x = x[np.abs(z).min(axis=0) > 1e-2]
    u = rng.standard_normal(x.shape)
    return risk, x.astype(dtype), u.astype(dtype)


def torch_risk(risk, x):
    """The same risk, written for autograd."""
    c, net = risk.network.output_dim, risk.network
    inputs = torch.tensor(net.augment(risk.task.inputs))
    targets = torch.tensor(risk.task.targets)
    f = TORCH_ACTIVATIONS[net.activation](inputs @ x[:, c:].T) @ x[:, :c] / len(x)
    if risk.loss == "squared":
        losses = 0.5 * ((f - targets) ** 2).sum(dim=1)
    elif risk.loss == "logistic":
        losses = torch.nn.functional.softplus(-targets * f, threshold=1e9).sum(dim=1)
    else:
        losses = torch.nn.functional.cross_entropy(f, targets, reduction="none")
    return losses.mean() + 0.5 * risk.weight_decay * (x * x).sum() / len(x)


def by_autograd(risk, x, u):
    """(R, N ∇R, N ∇²R u, N ∇³R[u, u]) by reverse mode applied three times."""
    theta = torch.tensor(x.astype(np.float64), requires_grad=True)
    direction = torch.tensor(u.astype(np.float64))
    value = torch_risk(risk, theta)
    (gradient,) = torch.autograd.grad(value, theta, create_graph=True)
    (hvp,) = torch.autograd.grad((gradient * direction).sum(), theta, create_graph=True)
    (third,) = torch.autograd.grad((hvp * direction).sum(), theta)
    n = len(x)
    return value.item(), *(n * t.detach().numpy() for t in (gradient, hvp, third))


def close(actual, expected, tolerance):
    return np.max(np.abs(actual - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


# Each entry is a sum of at most N_DATA·c products of O(1) factors, each with a few roundings: below 1e3 ε.
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("activation", "loss"), CASES)
def test_derivatives_match_autograd(activation, loss, dtype):
    risk, x, u = problem(activation, loss, dtype)
    value, gradient, hvp, third = by_autograd(risk, x, u)
    tolerance = 1e3 * np.finfo(dtype).eps
    assert close(risk.value(x), value, tolerance)
    for actual, expected in [
        (risk.gradient(x), gradient),
        (risk.hvp(x, u), hvp),
        (risk.third(x, u), third),
    ]:
        assert actual.dtype == np.dtype(dtype)
        assert close(actual, expected, tolerance)


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [
        ("squared", "float64"),
        ("softmax", "float64"),
        pytest.param("squared", "float32", marks=[pytest.mark.slow, pytest.mark.essential]),
    ],
)
def test_derivatives_of_many_inputs_match_autograd(loss, dtype):
    """In single precision too, which is slow, as it compiles kernels of its own."""
    risk, x, u = problem("tanh", loss, dtype, inputs=40)
    for actual, expected in zip(
        (risk.value(x), risk.gradient(x), risk.hvp(x, u), risk.third(x, u)),
        by_autograd(risk, x, u),
        strict=True,
    ):
        assert np.ndim(actual) == 0 or actual.dtype == np.dtype(dtype)
        assert close(actual, expected, 1e3 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("activation", "loss"), CASES)
def test_derivatives_match_central_differences(activation, loss):
    """Error h²/6 × the third derivative + ε/h: h = 1e-5 leaves about 1e-10 of each on O(1) derivatives; 1e-8 allows O(100)."""
    risk, x, u = problem(activation, loss)
    h = 1e-5
    plus, minus = x + h * u, x - h * u
    slope = (risk.value(plus) - risk.value(minus)) / (2 * h)
    assert abs(slope - risk.inner(risk.gradient(x), u)) <= 1e-8 * max(1, abs(slope))
    assert close(risk.hvp(x, u), (risk.gradient(plus) - risk.gradient(minus)) / (2 * h), 1e-8)
    assert close(risk.third(x, u), (risk.hvp(plus, u) - risk.hvp(minus, u)) / (2 * h), 1e-8)


def test_without_bias_and_weight_decay():
    risk, x, u = problem("tanh", "squared", bias=False, weight_decay=0.0, inputs=40)
    expected = by_autograd(risk, x, u)
    for actual, reference in zip(
        (risk.value(x), risk.gradient(x), risk.hvp(x, u), risk.third(x, u)), expected, strict=True
    ):
        assert close(actual, reference, 1e-12)


def test_the_hessian_is_self_adjoint_in_the_risks_inner_product():
    risk, x, u = problem("tanh", "softmax", inputs=40)
    v = np.random.default_rng(3).standard_normal(x.shape)
    left, right = risk.inner(u, risk.hvp(x, v)), risk.inner(risk.hvp(x, u), v)
    assert left == pytest.approx(right, rel=1e-12)


def test_permutation_equivariance():
    """Exchanging neurons exchanges the rows of every derivative and leaves the risk; only the order of sums differs."""
    risk, x, u = problem("tanh", "squared", inputs=40)
    p = np.random.default_rng(0).permutation(len(x))
    assert risk.value(x[p]) == pytest.approx(risk.value(x), rel=1e-14)
    for f in (risk.gradient, lambda y: risk.hvp(y, u if y is x else u[p])):
        assert close(f(x[p]), f(x)[p], 1e-13)


def test_duplicating_every_neuron_changes_nothing():
    """The risk is a function of the measure alone: mean-field gradients of the copies are those of the originals."""
    risk, x, _ = problem("tanh", "logistic")
    double = np.vstack([x, x])
    assert risk.value(double) == pytest.approx(risk.value(x), rel=1e-14)
    assert close(risk.gradient(double), np.vstack([risk.gradient(x)] * 2), 1e-13)


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("logistic", [[0.0], [1.0]], "logistic"),
        (
            "softmax",
            [[1.0], [1.0]],
            "targets must have at least 2 columns for the softmax loss, got 1",
        ),
        ("softmax", [[1.0, 1.0], [0.0, 1.0]], "probabilities"),
        ("sqared", [[0.0], [1.0]], "did you mean 'squared'"),
    ],
)
def test_bad_targets_and_losses(loss, targets, message):
    targets = np.array(targets)
    task = Task(np.ones((2, 3)), targets, "bad")
    with pytest.raises(ValueError, match=message):
        Risk(TwoLayerNetwork(3, targets.shape[1]), task, loss)


def test_bad_arguments():
    task = Task(np.ones((2, 3)), np.ones((2, 1)), "ones")
    net = TwoLayerNetwork(3)
    with pytest.raises(ValueError, match="weight_decay"):
        Risk(net, task, weight_decay=-1.0)
    with pytest.raises(ValueError, match="input_dim=4"):
        Risk(TwoLayerNetwork(4), task)
    with pytest.raises(ValueError, match="output_dim=2"):
        Risk(TwoLayerNetwork(3, 2), task)
    with pytest.raises(ValueError, match="dtype"):
        Risk(net, task, dtype="int64")
    risk = Risk(net, task)
    with pytest.raises(ValueError, match="x must have shape"):
        risk.gradient(np.ones((4, 3)))
    with pytest.raises(ValueError, match="v must have shape"):
        risk.hvp(np.ones((4, 5)), np.ones((3, 5)))
