"""Small torch modules with something in their midst, and what PyTorch itself makes of their derivatives."""

import numpy as np
import pytest

import meanfield

torch = pytest.importorskip("torch")
nn = torch.nn

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((9, 3)), RNG.standard_normal((9, 2))


def build(make, *arguments):
    torch.manual_seed(0)
    return make(*arguments).double().eval()


def direction(objective, seed=4):
    u = np.random.default_rng(seed).standard_normal(objective.dimension)
    return (u / np.linalg.norm(u)).astype(objective.dtype)


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


def detached(h, w, b):
    """A normalization whose gradient is wrong: its size is taken to be constant."""
    return w * h / h.detach().norm(dim=1, keepdim=True)


def without_gradient(h, w, b):
    with torch.no_grad():
        size = h.norm(dim=1, keepdim=True)
    return h / size * w
