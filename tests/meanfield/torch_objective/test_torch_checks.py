"""Derivatives that PyTorch composes wrongly, or not at all: made right, or refused with the layer's name."""

import numpy as np
import pytest

import meanfield
from tests.meanfield.torch_objective.test_torch_objective import build, direction

torch = pytest.importorskip("torch")
nn = torch.nn
functional = nn.functional
checkpoints = pytest.importorskip("torch.utils.checkpoint")

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((9, 3)), RNG.standard_normal((9, 2))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Around(nn.Module):
    """tanh of a linear layer, something, and a linear layer."""

    def __init__(self, inner, width=6, outputs=6):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.inner = inner
        self.last = nn.Linear(outputs, 2)

    def forward(self, inputs):
        return self.last(self.inner(torch.tanh(self.first(inputs))))


class Calls(nn.Module):
    """A function of what came and of two parameters (6,)."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.3 * torch.randn(6))
        self.bias = nn.Parameter(0.3 * torch.randn(6))
        self.function = function

    def forward(self, features):
        return self.function(features, self.weight, self.bias)


def objective_of(module, **arguments):
    return meanfield.TorchObjective(module, "squared", INPUTS, TARGETS, **arguments)


def around(inner, **arguments):
    """An objective, and a point away from its start."""
    objective = objective_of(build(lambda: Around(inner)), **arguments)
    return objective, objective.initial() + 0.5 * RNG.standard_normal(objective.dimension)


def by_autograd(module, x, u):
    """Value, gradient, hvp and third of the loss of a module, without this package."""
    x, u = torch.tensor(x), torch.tensor(u)
    names, shapes = zip(*((n, p.shape) for n, p in module.named_parameters()), strict=True)

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        named = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        outputs = torch.func.functional_call(module, named, (torch.tensor(INPUTS),))
        return 0.5 * (outputs - torch.tensor(TARGETS)).square().sum() / len(INPUTS)

    at = x.requires_grad_()
    value = loss(at)
    (gradient,) = torch.autograd.grad(value, at, create_graph=True)
    (hvp,) = torch.autograd.grad(gradient @ u, at, create_graph=True)
    (third,) = torch.autograd.grad(hvp @ u, at)
    return [np.asarray(t.detach()) for t in (value, gradient, hvp, third)]


def same(objective, x, plain):
    u = direction(objective)
    results = objective.value(x), objective.gradient(x), objective.hvp(x, u), objective.third(x, u)
    for actual, expected in zip(results, by_autograd(plain, x, u), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


# --- made right ----------------------------------------------------------------------------------


class Blocks(nn.Module):
    """Three layers, with as much left out of memory as `how` says."""

    def __init__(self, how):
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))
        self.last = nn.Linear(5, 2)
        self.how = how

    def block(self, i, features):
        return torch.tanh(self.blocks[i](features))

    def forward(self, inputs):
        return self.last(self.how(self, inputs))


def plainly(net, inputs):
    features = torch.tanh(net.first(inputs))
    for i in range(3):
        features = net.block(i, features)
    return features


def each(use_reentrant):
    def run(net, inputs):
        features = torch.tanh(net.first(inputs))
        for i in range(3):
            features = checkpoints.checkpoint(net.block, i, features, use_reentrant=use_reentrant)
        return features

    return run


def whole(use_reentrant):
    """Of the inputs, which need no gradient themselves."""

    def run(net, inputs):
        return checkpoints.checkpoint(plainly, net, inputs, use_reentrant=use_reentrant)

    return run


def nested(use_reentrant):
    return lambda net, inputs: checkpoints.checkpoint(
        lambda given: each(use_reentrant)(net, given), inputs, use_reentrant=use_reentrant
    )


def sequential(use_reentrant):
    def run(net, inputs):
        functions = [lambda h, i=i: net.block(i, h) for i in range(3)]
        features = torch.tanh(net.first(inputs))
        return checkpoints.checkpoint_sequential(
            functions, 2, features, use_reentrant=use_reentrant
        )

    return run


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("how", [each, whole, nested, sequential])
@pytest.mark.parametrize("chunk_size", [None, 4])
def test_checkpoints_change_nothing(how, use_reentrant, chunk_size):
    objective = objective_of(build(Blocks, how(use_reentrant)), chunk_size=chunk_size)
    x = objective.initial() + 0.5 * RNG.standard_normal(objective.dimension)
    same(objective, x, build(Blocks, plainly))


def test_checkpoints_outside_of_evaluations_are_left_as_they_are():
    module = build(Blocks, each(True))
    objective = objective_of(module)
    objective.third(objective.initial(), direction(objective))
    module(torch.tensor(INPUTS, requires_grad=True)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())
    assert issubclass(checkpoints.CheckpointFunction, torch.autograd.Function)


def layer_norm(h, w, b):
    centered = h - h.mean(-1, keepdim=True)
    return w * centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() + b


def channel_norm(h, w, b):
    """Of (n, 6) as three channels of two."""
    return layer_norm(h.reshape(-1, 3, 2), w[:2].sum() / w[:2].sum(), 0 * b[:1]).reshape(h.shape)


def over_samples(h, w, b):
    """Each sample as a channel, so that samples do not meet."""
    return layer_norm(h, 1.0, 0.0) * (1 + 0 * w) + 0 * b


def rms_norm(h, w, b):
    return w * h / (h.square().mean(-1, keepdim=True) + 1e-3).sqrt() + b


NORMALIZATIONS = {
    "torch.layer_norm": (lambda h, w, b: torch.layer_norm(h, (6,), w, b), layer_norm),
    "torch.layer_norm, by name": (
        lambda h, w, b: torch.layer_norm(
            h, normalized_shape=(6,), weight=w, bias=b, eps=1e-5, cudnn_enable=False
        ),
        layer_norm,
    ),
    "torch.native_layer_norm": (
        lambda h, w, b: torch.native_layer_norm(h, (6,), w, b, 1e-5)[0],
        layer_norm,
    ),
    "functional.layer_norm": (
        lambda h, w, b: functional.layer_norm(h, (6,), w, b),
        layer_norm,
    ),
    "torch.ops.aten.layer_norm": (
        lambda h, w, b: torch.ops.aten.layer_norm(h, (6,), w, b),
        layer_norm,
    ),
    "torch.ops.aten.native_layer_norm": (
        lambda h, w, b: torch.ops.aten.native_layer_norm.default(h, (6,), w, b, 1e-5)[0],
        layer_norm,
    ),
    "torch.rms_norm": (lambda h, w, b: torch.rms_norm(h, (6,), w, 1e-3) + b, rms_norm),
    "torch.instance_norm": (
        lambda h, w, b: (
            torch.instance_norm(
                h.reshape(-1, 3, 2), None, None, None, None, True, 0.1, 1e-5, False
            ).reshape(h.shape)
            + 0 * (w + b)
        ),
        channel_norm,
    ),
    "torch.batch_norm": (
        lambda h, w, b: (
            torch.batch_norm(h.T, None, None, None, None, True, 0.1, 1e-5, False).T + 0 * (w + b)
        ),
        over_samples,
    ),
    "torch.native_batch_norm": (
        lambda h, w, b: (
            torch.native_batch_norm(h.T.contiguous(), None, None, None, None, True, 0.1, 1e-5)[0].T
            + 0 * (w + b)
        ),
        over_samples,
    ),
    "torch.group_norm": (
        lambda h, w, b: torch.group_norm(h, 3) + 0 * (w + b),
        channel_norm,
    ),
}


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalizations_are_those_of_their_formulas(name):
    ours, formula = NORMALIZATIONS[name]
    torch.manual_seed(1)
    objective, x = around(nn.Sequential(Calls(ours), nn.Tanh()))
    torch.manual_seed(1)
    same(objective, x, build(lambda: Around(nn.Sequential(Calls(formula), nn.Tanh()))))


# --- refused -------------------------------------------------------------------------------------


class Detached(torch.autograd.Function):
    """tanh, whose backward pass is not part of the graph."""

    @staticmethod
    def forward(ctx, features):
        ctx.save_for_backward(features)
        return torch.tanh(features)

    @staticmethod
    def backward(ctx, gradient):
        (features,) = ctx.saved_tensors
        return gradient * (1 - torch.tanh(features.detach()) ** 2)


class Mistaken(Detached):
    @staticmethod
    def backward(ctx, gradient):
        (features,) = ctx.saved_tensors
        return gradient * (1 - torch.tanh(features))


class Once(Detached):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (features,) = ctx.saved_tensors
        return gradient * (1 - torch.tanh(features) ** 2)


def without_gradient(h, w, b):
    with torch.no_grad():
        size = h.norm(dim=1, keepdim=True)
    return h / size * w


def clipped(h, w, b):
    h = h * w
    if h.requires_grad:
        h.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
    return h


#: A function of features and parameters, the derivative that is found wrong, and what the message says of it.
FAULTS = {
    "detach": (lambda h, w, b: w * h / h.detach().norm(dim=1, keepdim=True), 1, "detach"),
    "detached parameter": (lambda h, w, b: w * h + w.detach() * h**2, 1, "detach"),
    "data": (lambda h, w, b: w * h * h.data + b, 1, r"\.data"),
    "item": (lambda h, w, b: h * w.square().sum().detach().double().item(), 1, r"item\(\)"),
    "numpy": (lambda h, w, b: h * torch.tensor(w.detach().numpy().copy()), 1, r"numpy\(\)"),
    "no_grad": (without_gradient, 1, r"no_grad\(\)"),
    "straight through": (lambda h, w, b: w * (h + (h.round() - h).detach()), 1, "detach"),
    "hook": (clipped, 1, ""),
    "mistaken": (lambda h, w, b: Mistaken.apply(w * h), 1, "Mistaken"),
    "detached backward": (lambda h, w, b: Detached.apply(w * h + b), 2, "Detached"),
    "without second": (lambda h, w, b: Once.apply(w * h + b), 2, "Once"),
    "cdist": (lambda h, w, b: torch.cdist(h, torch.outer(w, b)), 2, "_cdist_backward"),
    "cdist, p = 1": (lambda h, w, b: torch.cdist(h, torch.outer(w, b), p=1), 2, "_cdist_backward"),
    "hardsigmoid": (lambda h, w, b: functional.hardsigmoid(h * w), 2, "hardsigmoid_backward"),
    "statistics": (
        lambda h, w, b: w * h * torch.native_layer_norm(h, (6,), None, None, 1e-5)[2],
        1,
        "",
    ),
    "Bessel": (lambda h, w, b: torch.special.bessel_j0(3 * h * w), 1, ""),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_wrong_derivatives_name_their_layer(name, dtype):
    function, order, hint = FAULTS[name]
    if name == "numpy" and dtype == "float32":
        pytest.skip("its constant is of the module's own precision")
    objective, x = around(nn.Sequential(nn.Linear(6, 6), Calls(function)), dtype=dtype)
    x, u = x.astype(dtype), direction(objective)
    evaluations = [
        objective.gradient,
        lambda x: objective.hvp(x, u),
        lambda x: objective.third(x, u),
    ]
    for fine in evaluations[: order - 1]:
        fine(x)
    message = rf"^module must .*in layer 'inner.1' \(Calls\).*{hint}"
    for wrong in evaluations[order - 1 :]:
        with pytest.raises(ValueError, match=message):
            wrong(x)
    objective.value(x)


@pytest.mark.parametrize("name", ["detach", "detached backward", "cdist"])
def test_the_start_is_not_where_it_is_looked_for(name):
    """With last weights of zero all derivatives but those are zero there."""
    function, order, _ = FAULTS[name]
    module = build(lambda: Around(Calls(function)))
    with torch.no_grad():
        module.last.weight.zero_()
    objective = objective_of(module)
    x = objective.initial()
    with pytest.raises(ValueError, match="in layer 'inner'"):
        objective.gradient(x) if order == 1 else objective.hvp(x, direction(objective))


def scripted(layer):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is no longer developed
        return torch.jit.script(layer)


def test_a_scripted_normalization_has_no_third_derivative():
    objective, x = around(scripted(nn.LayerNorm(6).double()))
    u = direction(objective)
    plain = build(lambda: Around(nn.LayerNorm(6)))
    _, gradient, hvp, _ = by_autograd(plain, x, u)
    np.testing.assert_allclose(objective.gradient(x), gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(objective.hvp(x, u), hvp, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match=r"third differs .* 'inner' \(LayerNorm\).*scripted"):
        objective.third(x, u)


def test_a_fault_deep_inside_is_found():
    inner = nn.ModuleDict(
        {"good": nn.Linear(6, 6), "list": nn.ModuleList([nn.Tanh(), Calls(FAULTS["detach"][0])])}
    )

    class Through(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = inner

        def forward(self, h):
            return self.parts["list"][1](features=self.parts["list"][0](self.parts["good"](h)))

    objective, x = around(Through())
    with pytest.raises(
        ValueError, match=r"in layer 'inner.parts.list.1' \(Calls\), which has detach"
    ):
        objective.gradient(x)


def test_a_fault_of_the_module_itself_or_of_the_loss_is_said_so():
    class Itself(Around):
        def forward(self, inputs):
            return super().forward(inputs) * self.first(inputs).detach().sum(1, keepdim=True)

    objective = objective_of(build(lambda: Itself(nn.Tanh())))
    with pytest.raises(ValueError, match=r"in the module itself \(Itself\), which has detach"):
        objective.gradient(objective.initial())

    def loss(outputs, targets):
        return (outputs - targets).square().sum(1) * outputs.detach().exp().sum(1)

    module = build(lambda: Around(nn.Tanh()))
    objective = meanfield.TorchObjective(module, loss, INPUTS, TARGETS)
    with pytest.raises(ValueError, match=r"^loss must be differentiated .* gradient differs"):
        objective.gradient(objective.initial())

    def without_second(outputs, targets):
        return functional.multi_margin_loss(outputs, targets, reduction="none")

    objective = meanfield.TorchObjective(module, without_second, INPUTS, np.arange(9) % 2)
    x = objective.initial()
    objective.gradient(x)
    with pytest.raises(ValueError, match=r"^loss must have a second .*multi_margin_loss_backward"):
        objective.hvp(x, direction(objective))


# --- no false alarms -----------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": nn.ReLU(),
    "leaky": nn.LeakyReLU(),
    "hardtanh": nn.Hardtanh(),
    "relu6": nn.ReLU6(),
    "hardswish": nn.Hardswish(),
    "softshrink": nn.Softshrink(),
    "hardshrink": nn.Hardshrink(0.1),
    "threshold": nn.Threshold(0.1, 0.1),
    "prelu": nn.PReLU(),
    "celu": nn.CELU(),
}


def rectified_mlp(activation):
    return nn.Sequential(
        nn.Linear(3, 64), activation, nn.Linear(64, 64), activation, nn.Linear(64, 2)
    )


def rectified_cnn(activation):
    return nn.Sequential(
        nn.Linear(3, 64),
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3, padding=1),
        activation,
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        activation,
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


@pytest.mark.parametrize("make", [rectified_mlp, rectified_cnn])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kinks_raise_no_alarm(make, activation, dtype):
    torch.manual_seed(0)
    objective = objective_of(make(ACTIVATIONS[activation]), dtype=dtype)
    objective.third(objective.initial(), direction(objective))
    assert not any(objective._checks.values()), "each derivative was decided"


@pytest.mark.slow
@pytest.mark.parametrize("make", [rectified_mlp, rectified_cnn])
def test_kinks_raise_no_alarm_from_many_starts(make):
    for seed in range(5):
        for activation in ACTIVATIONS.values():
            torch.manual_seed(seed)
            objective = objective_of(make(activation), dtype="float32")
            objective.third(objective.initial(), direction(objective))


def test_layers_of_float32_alone_are_checked_in_it():
    class Narrow(nn.Module):
        def forward(self, h):
            if h.dtype != torch.float32:
                raise RuntimeError("expected float32")
            return torch.tanh(h)

    module = build(lambda: Around(Narrow())).float()
    objective = objective_of(module)
    u = direction(objective)
    objective.third(objective.initial(), u)
    wrong = objective_of(
        build(lambda: Around(nn.Sequential(Narrow(), Calls(without_gradient)))).float()
    )
    with pytest.raises(ValueError, match=r"in layer 'inner.1' \(Calls\), which has no_grad"):
        wrong.gradient(wrong.initial())


# --- how often, how much -------------------------------------------------------------------------


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, h):
        self.calls += len(h)
        return torch.tanh(h)


def test_each_derivative_is_checked_once_and_on_few_samples():
    counting = Counting()
    module = build(lambda: Around(counting))
    rng = np.random.default_rng(5)
    inputs, targets = rng.standard_normal((500, 3)), rng.standard_normal((500, 2))
    objective = meanfield.TorchObjective(module, "squared", inputs, targets)
    x, u = objective.initial(), direction(objective)
    calls = []
    for evaluate in (
        objective.value,
        objective.gradient,
        lambda x: objective.hvp(x, u),
        lambda x: objective.third(x, u),
    ) * 2:
        counting.calls = 0
        evaluate(x)
        calls.append(counting.calls)
    assert calls[4:] == [500] * 4 and calls[0] == 500
    assert all(500 < number < 500 + 10 * 8 for number in calls[1:4])


def test_a_derivative_is_checked_with_those_below_it():
    function = FAULTS["detach"][0]
    for evaluate in ("hvp", "third"):
        objective, x = around(Calls(function))
        with pytest.raises(ValueError, match="which gradient differs"):
            getattr(objective, evaluate)(x, direction(objective))


def test_checks_change_no_result_and_no_random_state():
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    module = build(lambda: Around(nn.Tanh()))
    torch.manual_seed(3)
    objective, again = objective_of(module), objective_of(module)
    x, u = objective.initial(), direction(objective)
    first = objective.third(x, u)
    assert torch.rand(1) == expected[0] and np.random.rand() == expected[1]  # noqa: NPY002
    again.gradient(x)
    np.testing.assert_array_equal(first, again.third(x, u))
    np.testing.assert_array_equal(first, objective.third(x, u))


def test_a_point_that_is_not_finite_is_no_place_for_a_check():
    objective, x = around(Calls(FAULTS["detach"][0]))
    assert not np.isfinite(objective.gradient(np.full_like(x, np.inf))).all()
    with pytest.raises(ValueError, match="which gradient differs"):
        objective.gradient(x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_check_objective_takes_modules(dtype):
    objective, x = around(nn.Tanh(), dtype=dtype)
    assert max(meanfield.check_objective(objective, x).values()) < 1e-6


def test_the_same_in_double_precision():
    module = build(lambda: Around(nn.Sequential(nn.BatchNorm1d(6), nn.Tanh())))
    single, double = objective_of(module, dtype="float32"), objective_of(module)
    x = single.initial().astype(np.float64)
    twin = single.as_float64()
    assert single.dtype == np.float32 and twin.dtype == np.float64
    u = direction(double)
    # of data that float32 has rounded
    np.testing.assert_allclose(twin.hvp(x, u), double.hvp(x, u), rtol=1e-4, atol=1e-6)
    assert single.gradient(x).dtype == np.float32 and twin.third(x, u).dtype == np.float64


def test_an_overflow_of_float32_is_told_from_a_divergence():
    import solvers

    def loss(outputs, targets):
        """w²/2 by way of w⁶, which float32 holds up to w = 2.6e6."""
        return 0.5 * outputs[:, 0] ** 2 * (outputs[:, 0] ** 6 / outputs[:, 0] ** 6)

    module = nn.Linear(1, 1, bias=False)
    objective = meanfield.TorchObjective(module, loss, np.ones((1, 1)), np.ones(1))
    start = np.array([1e5], np.float32)
    run = solvers.solve(solvers.GradientDescent(2.5), objective, start, 20)
    assert run.status == "diverged" and "float32 overflow" in run.message
