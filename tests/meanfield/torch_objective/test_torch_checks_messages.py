"""Derivatives that are wrong, or not there at all, are refused with the layer's name."""

import numpy as np
import pytest

import meanfield
from tests.helpers.torch_modules import (
    INPUTS,
    TARGETS,
    Around,
    Calls,
    around,
    build,
    by_autograd,
    detached,
    direction,
    objective_of,
    without_gradient,
)

torch = pytest.importorskip("torch")
nn = torch.nn
functional = nn.functional


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


def clipped(h, w, b):
    h = h * w
    if h.requires_grad:
        h.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
    return h


#: A function of features and parameters, the derivative that is found wrong, and what the message says of it.
FAULTS = {
    "detach": (detached, 1, "detach"),
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
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
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
        {"good": nn.Linear(6, 6), "list": nn.ModuleList([nn.Tanh(), Calls(detached)])}
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
