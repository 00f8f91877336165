"""The check itself: no false alarm at kinks, one look at each derivative, on few samples, and no result changed."""

import numpy as np
import pytest

import meanfield
from tests.helpers.torch_modules import (
    Around,
    Calls,
    around,
    build,
    detached,
    direction,
    objective_of,
    without_gradient,
)

torch = pytest.importorskip("torch")
nn = torch.nn
functional = nn.functional

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
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
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
    for evaluate in ("hvp", "third"):
        objective, x = around(Calls(detached))
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
    objective, x = around(Calls(detached))
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
