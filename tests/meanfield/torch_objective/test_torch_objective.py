"""PyTorch modules as objectives, against torch.autograd.functional, differences, Risk and torch.optim."""

import numpy as np
import pytest

import meanfield
import solvers
from tests.helpers.torch_modules import build, direction

torch = pytest.importorskip("torch")
nn = torch.nn

N = 7


class Attention(nn.Module):
    """A small vision transformer: patches, a block with attention written out and one of the library's, a mean."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, kernel_size=4, stride=4)
        self.position = nn.Parameter(0.1 * torch.randn(4, 8))
        self.norm = nn.LayerNorm(8)
        self.qkv = nn.Linear(8, 24)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        tokens = tokens + nn.functional.scaled_dot_product_attention(q, k, v)
        return self.head(self.block(tokens).mean(dim=1))


def mlp(outputs=2):
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs))


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 3),
    )


def normalized():
    """With a batch normalisation in evaluation mode, whose statistics are constants."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4), nn.Softplus())
    module[2].running_mean.add_(0.3)
    return nn.Sequential(module, nn.Linear(4, 3))


class Normalizations(nn.Module):
    """Those of which PyTorch's own higher derivatives are wrong."""

    def __init__(self):
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3))
        self.instance = nn.InstanceNorm2d(2, affine=True)
        self.linear = nn.utils.parametrizations.weight_norm(nn.Linear(72, 5), dim=1)
        self.plain = nn.LayerNorm(5, elementwise_affine=False)
        self.rms = nn.RMSNorm(5)
        self.head = nn.Linear(5, 3)

    def forward(self, images):
        features = torch.tanh(self.instance(self.conv(images))).flatten(1)
        features = torch.tanh(self.plain(self.linear(features)))
        # with each sample as a channel
        features = nn.functional.batch_norm(features.T + features.T**2, None, None, training=True).T
        return self.head(self.rms(features + 0.3))


IMAGE_MODULES = {
    "cnn": cnn,
    "attention": Attention,
    "batch norm": normalized,
    "normalizations": Normalizations,
}


def images(n=N):
    return np.random.default_rng(1).standard_normal((n, 3, 8, 8))


def targets_of(loss, n=N):
    rng = np.random.default_rng(2)
    return {
        "squared": rng.standard_normal((n, 2)),
        "logistic": rng.choice([-1.0, 1.0], (n, 2)),
        "softmax": rng.integers(0, 2, n),
    }[loss]


def mlp_objective(loss="squared", chunk_size=None, **arguments):
    inputs = np.random.default_rng(3).standard_normal((N, 3))
    module = build(mlp)
    return meanfield.TorchObjective(module, loss, inputs, targets_of(loss), chunk_size, **arguments)


def image_objective(name, chunk_size=None, **arguments):
    classes = np.arange(N) % 3
    module = build(IMAGE_MODULES[name])
    return meanfield.TorchObjective(module, "softmax", images(), classes, chunk_size, **arguments)


def everything(objective, x=None):
    """Value, gradient, hvp and third at x in one vector."""
    x = objective.initial() if x is None else x
    u = direction(objective)
    parts = [objective.gradient(x), objective.hvp(x, u), objective.third(x, u)]
    assert all(p.shape == (objective.dimension,) and p.dtype == objective.dtype for p in parts)
    return np.concatenate([[objective.value(x)], *parts])


# --- derivatives ---------------------------------------------------------------------------------


def mlp_by_hand(objective, loss):
    """E as a function of one tensor, in formulas of its own."""
    inputs = torch.tensor(np.random.default_rng(3).standard_normal((N, 3)))
    y = torch.tensor(targets_of(loss))

    def function(x):
        a, b, c, d = x.split([12, 4, 8, 2])
        f = torch.tanh(inputs @ a.reshape(4, 3).T + b) @ c.reshape(2, 4).T + d
        if loss == "squared":
            return ((f - y) ** 2).sum() / (2 * N)
        if loss == "logistic":
            return torch.log1p(torch.exp(-y * f)).sum() / N
        return (f.exp().sum(dim=1).log() - f[torch.arange(N), y]).mean()

    return function


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_derivatives_of_a_small_network(loss, chunk_size):
    objective, function = mlp_objective(loss, chunk_size), mlp_by_hand(mlp_objective, loss)
    x, u = objective.initial(), direction(mlp_objective())
    at, along = torch.tensor(x), torch.tensor(u)
    functional = torch.autograd.functional
    assert objective.value(x) == pytest.approx(float(function(at)), rel=1e-14)
    gradient = functional.jacobian(function, at).numpy()
    np.testing.assert_allclose(objective.gradient(x), gradient, rtol=1e-11, atol=1e-14)
    hessian = functional.hessian(function, at).numpy()
    np.testing.assert_allclose(objective.hvp(x, u), hessian @ u, rtol=1e-11, atol=1e-14)
    curvature = functional.jacobian(
        lambda y: along @ functional.hessian(function, y, create_graph=True) @ along, at
    )
    np.testing.assert_allclose(objective.third(x, u), curvature.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", IMAGE_MODULES)
def test_derivatives_of_image_networks_are_those_of_differences(name):
    objective = image_objective(name)
    x, u, h = objective.initial(), direction(objective), 1e-4
    slope = (objective.value(x + h * u) - objective.value(x - h * u)) / (2 * h)
    assert objective.gradient(x) @ u == pytest.approx(slope, rel=1e-6)
    hvp = (objective.gradient(x + h * u) - objective.gradient(x - h * u)) / (2 * h)
    third = (objective.hvp(x + h * u, u) - objective.hvp(x - h * u, u)) / (2 * h)
    # the truncation error is h² times derivatives of higher order, of the size of the others
    for exact, difference in ((objective.hvp(x, u), hvp), (objective.third(x, u), third)):
        assert np.linalg.norm(exact - difference) < 1e-5 * np.linalg.norm(exact)


@pytest.mark.parametrize("name", IMAGE_MODULES)
@pytest.mark.parametrize("chunk_size", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_chunks_change_the_rounding_only(name, chunk_size):
    whole, chunked = (
        everything(image_objective(name)),
        everything(image_objective(name, chunk_size)),
    )
    np.testing.assert_allclose(chunked, whole, rtol=1e-10, atol=1e-13 * np.abs(whole).max())


def test_evaluations_repeat_bit_for_bit():
    first, again = (everything(image_objective("cnn", 3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_derivatives_that_vanish_are_zero():
    module = build(lambda: nn.Linear(3, 1))
    x, y = np.ones((2, 3)), np.ones((2, 1))
    linear = meanfield.TorchObjective(module, lambda f, y: f[:, 0] - y[:, 0], x, y)
    at, u = linear.initial(), direction(linear)
    np.testing.assert_array_equal(linear.gradient(at), [1, 1, 1, 1])
    assert not linear.hvp(at, u).any() and not linear.third(at, u).any()
    squared = meanfield.TorchObjective(module, "squared", x, y)
    assert squared.hvp(at, u).any() and not squared.third(at, u).any()
    constant = meanfield.TorchObjective(module, lambda f, y: y[:, 0], x, y)
    assert not constant.gradient(at).any()


def test_losses_do_not_overflow():
    module = nn.Linear(1, 2, bias=False).double()
    margins = np.array([[1.0], [-1.0]])
    for loss, y in (("logistic", np.ones((2, 2))), ("softmax", np.array([0, 1]))):
        objective = meanfield.TorchObjective(module, loss, margins, y)
        x, u = np.array([1000.0, -1000.0]), np.array([1.0, 0.0])
        assert np.isfinite(objective.value(x))
        for result in (objective.gradient(x), objective.hvp(x, u), objective.third(x, u)):
            assert np.isfinite(result).all()


def test_classes_and_probabilities_are_one_loss():
    classes = np.arange(N) % 3
    one = image_objective("cnn")
    other = meanfield.TorchObjective(one.module, "softmax", images(), np.eye(3, dtype=int)[classes])
    np.testing.assert_allclose(everything(one), everything(other), rtol=1e-10, atol=1e-13)


def test_a_callable_loss():
    objective = mlp_objective("squared", 3)
    inputs, y = np.random.default_rng(3).standard_normal((N, 3)), targets_of("squared")

    def loss(outputs, targets):
        return 0.5 * (outputs - targets).square().sum(dim=1)

    mine = meanfield.TorchObjective(objective.module, loss, inputs, y, 3)
    np.testing.assert_allclose(everything(mine), everything(objective), rtol=1e-12, atol=1e-15)


# --- against the rest of the package, and of PyTorch ---------------------------------------------


class MeanField(nn.Module):
    """f(x) = (1/N) Σ_i a_i tanh(w_i·x + b_i) on rows (a_i, w_i, b_i)."""

    def __init__(self, particles):
        super().__init__()
        self.particles = nn.Parameter(torch.tensor(particles))

    def forward(self, inputs):
        a, w, b = self.particles[:, :1], self.particles[:, 1:-1], self.particles[:, -1]
        return torch.tanh(inputs @ w.T + b) @ a / len(a)


def test_two_layer_network_in_mean_field_scaling_is_risk():
    task = meanfield.tasks.teacher_student(n=20, input_dim=2)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(2), task)
    x = risk.network.initialize(n_particles=9, seed=0)
    u = np.random.default_rng(0).standard_normal(x.shape)
    objective = meanfield.TorchObjective(MeanField(x), "squared", task.inputs, task.targets, 6)
    np.testing.assert_array_equal(objective.initial(), x.ravel())
    assert objective.value(x.ravel()) == pytest.approx(risk.value(x), rel=1e-13)
    # the derivatives of Risk are N times the plain ones
    for mine, theirs in (
        (objective.gradient(x.ravel()), risk.gradient(x)),
        (objective.hvp(x.ravel(), u.ravel()), risk.hvp(x, u)),
        (objective.third(x.ravel(), u.ravel()), risk.third(x, u)),
    ):
        np.testing.assert_allclose(9 * mine.reshape(x.shape), theirs, rtol=1e-11, atol=1e-14)


def test_gradient_descent_is_the_optimizer_of_torch():
    objective = mlp_objective("softmax", 3)
    start = objective.initial()
    run = solvers.solve(solvers.GradientDescent(learning_rate=0.5), objective, start, steps=20)
    module = objective.module
    inputs = torch.tensor(np.random.default_rng(3).standard_normal((N, 3)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), torch.tensor(targets_of("softmax"))).backward()
        optimizer.step()
    assert np.abs(objective.initial() - start).max() > 0.1, "the current parameters"
    np.testing.assert_allclose(run.iterates[-1], objective.initial(), rtol=1e-11, atol=1e-13)


def test_precision_is_that_of_the_parameters_or_the_one_asked_for():
    classes = np.arange(N) % 3
    module = build(cnn).float()
    own = meanfield.TorchObjective(module, "softmax", images().astype(np.float32), classes)
    double = meanfield.TorchObjective(
        module, "softmax", torch.tensor(images()), classes, dtype="float64"
    )
    assert own.initial().dtype == own.dtype == np.float32 and double.dtype == np.float64
    x = own.initial().astype(np.float64)
    np.testing.assert_array_equal(double.initial(), x)
    expected = meanfield.TorchObjective(build(cnn), "softmax", images(), classes)
    np.testing.assert_array_equal(everything(double, x), everything(expected, x))
    np.testing.assert_allclose(everything(own), everything(expected, x), rtol=0, atol=1e-4)


def test_a_batch_is_the_objective_of_its_samples():
    """Steps on batches are those of torch.optim.Adam on the same batches."""
    objective = mlp_objective("softmax", 3)
    module = objective.module
    inputs = torch.tensor(np.random.default_rng(3).standard_normal((N, 3)))
    classes = torch.tensor(targets_of("softmax"))
    chosen = [2, 0, 0]
    own = meanfield.TorchObjective(module, "softmax", inputs[chosen], classes[chosen])
    x = objective.initial()
    assert objective.samples == N and objective.batch(chosen).samples == 3
    np.testing.assert_array_equal(everything(objective.batch(chosen), x), everything(own, x))
    flow = solvers.MiniBatch(solvers.Adam(0.01), batch_size=2, seed=1)
    run = solvers.solve(flow, objective, x, steps=10)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for step in range(10):
        batch = torch.from_numpy(flow.indices(N, step).copy())
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs[batch]), classes[batch]).backward()
        optimizer.step()
    np.testing.assert_allclose(run.iterates[-1], objective.initial(), rtol=1e-11, atol=1e-13)
    with pytest.raises(ValueError, match=f"indices must be at least 0 and below {N}"):
        objective.batch([N])
