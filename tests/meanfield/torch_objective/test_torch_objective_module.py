"""What TorchObjective leaves alone, how much it takes at once, what it refuses, and that PyTorch is imported late."""

import subprocess
import sys

import numpy as np
import pytest

import meanfield
from tests.helpers.torch_modules import build, direction
from tests.meanfield.torch_objective.test_torch_objective import (
    IMAGE_MODULES,
    Attention,
    N,
    everything,
    image_objective,
    images,
    mlp,
    mlp_objective,
    targets_of,
)

torch = pytest.importorskip("torch")
nn = torch.nn


# --- the vector and the module -------------------------------------------------------------------


def test_unflatten_names_the_parameters():
    objective = mlp_objective()
    state = objective.unflatten(objective.initial())
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for name, parameter in objective.module.named_parameters():
        np.testing.assert_array_equal(state[name], parameter.detach().numpy())
    vector = nn.utils.parameters_to_vector(objective.module.parameters())
    np.testing.assert_array_equal(objective.initial(), vector.detach().numpy())


def test_frozen_parameters_are_held_fixed_and_shared_ones_counted_once():
    module = build(lambda: nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)))
    module[2].weight = module[0].weight
    module[2].bias.requires_grad_(False)
    inputs, y = np.random.default_rng(3).standard_normal((2, N, 3))
    objective = meanfield.TorchObjective(module, "squared", inputs, y, 3)
    assert objective.dimension == 12
    x, h = objective.initial(), 1e-6
    before = objective.value(x)
    differences = [
        (objective.value(x + h * e) - objective.value(x - h * e)) / (2 * h) for e in np.eye(12)
    ]
    np.testing.assert_allclose(objective.gradient(x), differences, atol=1e-8)
    with torch.no_grad():
        module[2].bias.add_(1.0)
    assert objective.value(x) == before, "later changes of the module are not seen"


@pytest.mark.parametrize("name", IMAGE_MODULES)
def test_the_module_is_left_as_it_was(name):
    module = build(IMAGE_MODULES[name])
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    identities = [id(p) for p in module.parameters()]
    objective = meanfield.TorchObjective(module, "softmax", images(), np.arange(N) % 3, 3)
    everything(objective, objective.initial() + 1)
    assert all(torch.equal(state[key], tensor) for key, tensor in module.state_dict().items())
    assert [id(p) for p in module.parameters()] == identities and not module.training
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


def test_data_are_copied():
    inputs, y = torch.ones(N, 3, dtype=torch.double), targets_of("squared")
    objective = meanfield.TorchObjective(build(mlp), "squared", inputs, y)
    before = objective.value(objective.initial())
    inputs += 1
    y += 1
    assert objective.value(objective.initial()) == before


def test_vectors_are_neither_kept_nor_changed_and_may_be_read_only():
    objective = mlp_objective()
    x, u = objective.initial(), direction(objective)
    kept = x.copy(), u.copy()
    x.flags.writeable = u.flags.writeable = False
    everything(objective, x)
    gradient = objective.gradient(x)
    assert gradient.flags.writeable and not np.shares_memory(gradient, x)
    np.testing.assert_array_equal((x, u), kept)


def test_what_the_caller_switched_off_is_switched_on_again():
    objective = image_objective("attention")
    x, u = objective.initial(), direction(objective)
    expected = objective.hvp(x, u)
    for switch in (torch.no_grad, torch.inference_mode):
        with switch():
            inputs = torch.tensor(images())
            inside = meanfield.TorchObjective(objective.module, "softmax", inputs, np.arange(N) % 3)
            np.testing.assert_array_equal(inside.hvp(x, u), expected)


class Recorder(nn.Module):
    """Writes down how many samples it sees."""

    def __init__(self):
        super().__init__()
        self.inner = mlp()
        self.seen = []

    def forward(self, inputs):
        self.seen.append(len(inputs))
        return self.inner(inputs)


def test_no_more_samples_than_the_chunk_are_seen_at_once():
    module = Recorder().double()
    inputs = np.random.default_rng(3).standard_normal((N, 3))
    objective = meanfield.TorchObjective(module, "squared", inputs, targets_of("squared"), 3)
    everything(objective)
    assert max(module.seen) == 3
    module.seen.clear()
    objective.third(objective.initial(), direction(objective))
    assert module.seen == [3, 3, 1]


def test_no_graph_outlives_its_chunk():
    alive, most = 0, 0

    class Count(torch.autograd.Function):
        """The identity; its context lives as long as the graph."""

        @staticmethod
        def forward(ctx, outputs):
            ctx.witness = Witness()
            return outputs.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Witness:
        def __init__(self):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    def loss(outputs, targets):
        return 0.5 * ((Count.apply(outputs) - targets) ** 2).sum(dim=1)

    inputs = np.random.default_rng(3).standard_normal((N, 3))
    objective = meanfield.TorchObjective(build(mlp), loss, inputs, targets_of("squared"), 1)
    most = 0
    everything(objective)
    assert (alive, most) == (0, 1)


# --- refusals ------------------------------------------------------------------------------------


class Noise(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.draw = draw

    def forward(self, inputs):
        return self.linear(inputs) + self.draw()


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mask", torch.tensor([True, False]))

    def forward(self, inputs):
        self.calls += 1
        return self.linear(inputs) * self.mask


RNG = np.random.default_rng(0)
IMPURE = {
    "dropout": (nn.Sequential(mlp(), nn.Dropout(0.1)), "1 .Dropout., which drops at random.*eval"),
    "batch norm": (nn.Sequential(mlp(), nn.BatchNorm1d(2)), "1 .BatchNorm1d., which normalises"),
    "no statistics": (
        nn.Sequential(mlp(), nn.BatchNorm1d(2, track_running_stats=False)).eval(),
        "track_running_stats",
    ),
    "torch noise": (Noise(lambda: torch.rand(1)), "be deterministic, got two evaluations.*eval"),
    "unused noise": (
        Noise(lambda: 0 * torch.rand(1)),
        "be deterministic, got two evaluations.*eval",
    ),
    "numpy noise": (
        Noise(lambda: float(RNG.random())),
        "be deterministic, got two evaluations.*eval",
    ),
    "counter": (Counter(), "writes to calls; call"),
}


@pytest.mark.parametrize("name", IMPURE)
def test_refuses_modules_that_are_no_function_of_each_sample(name):
    module, message = IMPURE[name]
    with pytest.raises(ValueError, match=f"^module must .*{message}"):
        meanfield.TorchObjective(module, "squared", np.ones((N, 3)), targets_of("squared"))


def test_refuses_attention_that_drops_and_allows_training_mode_without_chance():
    attention = Attention().double()
    with pytest.raises(ValueError, match="drops at random.*eval"):
        meanfield.TorchObjective(attention, "softmax", images(), np.arange(N) % 3)
    module = nn.Sequential(mlp(), nn.Dropout(0.0)).train()
    meanfield.TorchObjective(module, "squared", np.ones((N, 3)), targets_of("squared"))


def test_refuses_a_module_put_into_training_mode_later():
    module = nn.Sequential(mlp(), nn.Dropout(0.1)).eval()
    inputs = np.ones((N, 3))
    objective = meanfield.TorchObjective(module, "squared", inputs, targets_of("squared"))
    x = objective.initial()
    module.train()
    for evaluate in (objective.value, objective.gradient):
        with pytest.raises(ValueError, match="drops at random"):
            evaluate(x)


def without_parameters():
    module = mlp()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


X, Y = np.ones((N, 3)), np.ones((N, 2))
NAN = np.where(np.arange(N)[:, None] == 2, np.nan, X)
REFUSED = [
    ({"module": "mlp"}, "module must be a torch.nn.Module, got 'mlp'"),
    ({"module": without_parameters()}, "module must have trainable parameters .*got none"),
    ({"module": mlp().half()}, "parameters must be all float32 or all float64, got float16"),
    (
        {"module": nn.Sequential(nn.Linear(3, 2), nn.Flatten(0))},
        r"module must return .* 7 rows .*got shape \(14,\)",
    ),
    ({"loss": "square"}, "loss must be .*got 'square'.*did you mean 'squared'"),
    ({"loss": lambda f, y: (f - y).sum()}, r"loss must return shape \(7,\).*got shape \(\)"),
    ({"loss": lambda f, y: f - y}, r"loss must return shape \(7,\).*got shape \(7, 2\)"),
    ({"chunk_size": 0}, "chunk_size must be .*got 0"),
    ({"chunk_size": 2.0}, "chunk_size must be .*got 2.0"),
    ({"dtype": "float16"}, "dtype must be .*got 'float16'"),
    ({"inputs": X[:-1]}, "equally many rows, got 6 and 7"),
    ({"inputs": NAN}, "inputs must be finite as .*got non-finite"),
    ({"inputs": X * 1e300}, "inputs must be finite as float32, got non-finite"),
    ({"inputs": X + 1j}, "inputs must be real numbers, got dtype complex128"),
    (
        {"inputs": torch.ones(N, 3, dtype=torch.complex64)},
        "inputs must be real numbers, got dtype torch.complex64",
    ),
    ({"inputs": [["a"]]}, "inputs must be real numbers, got dtype <U1"),
    ({"inputs": np.ones((0, 3))}, r"inputs must have shape .*got \(0, 3\)"),
    ({"inputs": 1.0}, r"inputs must have shape .*got \(\)"),
    ({"targets": Y * np.inf}, "targets must be finite as .*got non-finite"),
    ({"targets": Y[:, 0]}, r"targets must have the shape .*\(7, 2\) in a chunk, got \(7,\)"),
    ({"targets": Y[:, :1]}, r"targets must have the shape .*\(7, 2\) in a chunk, got \(7, 1\)"),
    ({"loss": "logistic", "targets": 0 * Y}, "targets must be −1 or .1 for the logistic loss"),
    ({"loss": "softmax", "targets": Y}, "targets must be rows .n, c. of probabilities"),
    ({"loss": "softmax", "targets": Y[:, 0]}, "targets must be classes, integers of at least 0"),
    (
        {"loss": "softmax", "targets": np.full(N, -1)},
        "targets must be classes, integers of at least 0",
    ),
    ({"loss": "softmax", "targets": np.full(N, 2)}, "targets must be classes below 2, .*got 2"),
    (
        {"loss": "softmax", "targets": np.full((N, 4), 0.25)},
        "targets must have the shape of the module's outputs for the softmax loss",
    ),
    (
        {"loss": "softmax", "module": mlp(1), "targets": np.zeros(N, int)},
        "module must return shape .samples, classes. for the softmax loss",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refuses_arguments(arguments, message):
    usual = {"module": mlp(), "loss": "squared", "inputs": X, "targets": Y}
    with pytest.raises(ValueError, match=message):
        meanfield.TorchObjective(**usual | arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(26, int), "dtype float64 or float32, got int64"),
        (np.zeros(26, complex), "dtype float64 or float32, got complex128"),
        (np.zeros(25), r"shape \(26,\), got \(25,\)"),
        (np.zeros((26, 1)), r"shape \(26,\), got \(26, 1\)"),
    ],
)
def test_refuses_vectors(x, message):
    objective = mlp_objective()
    fine = objective.initial()
    calls = {
        "x": [
            lambda: objective.value(x),
            lambda: objective.gradient(x),
            lambda: objective.hvp(x, fine),
            lambda: objective.unflatten(x),
        ],
        "v": [lambda: objective.hvp(fine, x)],
        "u": [lambda: objective.third(fine, x)],
    }
    for name, functions in calls.items():
        for function in functions:
            with pytest.raises(ValueError, match=f"{name} must have {message}"):
                function()


def test_a_point_where_it_diverged_gives_no_number_and_no_error():
    objective = mlp_objective()
    x = np.full(objective.dimension, np.inf)
    assert not np.isfinite(objective.value(x)) and not np.isfinite(objective.gradient(x)).all()


# --- without PyTorch -----------------------------------------------------------------------------


def test_the_package_and_the_name_do_not_import_torch():
    code = "import sys; from meanfield import TorchObjective; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'pip install "meanfield-eos\[torch\]"'):
        meanfield.TorchObjective(None, "squared", X, Y)
