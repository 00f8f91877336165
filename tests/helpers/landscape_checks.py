"""What the tests of landscapes share."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

EPS = np.finfo(np.float64).eps


def analytic(x):
    return np.exp(0.3 * x[0]) * np.sin(x[1]) + x[0] * x[1] ** 2 * x[2] + 0.1 * np.sum(x**4)


def analytic_in_torch(p):
    return torch.exp(0.3 * p[0]) * torch.sin(p[1]) + p[0] * p[1] ** 2 * p[2] + 0.1 * (p**4).sum()


def random_point(landscape, seed=3, dtype="float64"):
    rng = np.random.default_rng(seed)
    x, u, v = rng.standard_normal((3, landscape.dimension)).astype(dtype)
    return x, u, v


def by_autograd(energy, x, u):
    """(E, ∇E, ∇²E u, ∇³E[u, u]) by reverse mode applied three times."""
    point = torch.tensor(x.astype(np.float64), requires_grad=True)
    direction = torch.tensor(u.astype(np.float64))
    value = energy(point)
    (gradient,) = torch.autograd.grad(value, point, create_graph=True)
    (hvp,) = torch.autograd.grad((gradient * direction).sum(), point, create_graph=True)
    # A Hessian that does not depend on x leaves autograd nothing to differentiate.
    third = torch.zeros_like(point)
    if hvp.requires_grad:
        (third,) = torch.autograd.grad((hvp * direction).sum(), point, materialize_grads=True)
    return value.item(), *(t.detach().numpy() for t in (gradient, hvp, third))


def close(actual, expected, tolerance):
    return np.max(np.abs(actual - expected)) <= tolerance * max(1.0, np.max(np.abs(expected)))


def hessian(landscape, x):
    return np.array([landscape.hvp(x, e) for e in np.eye(x.size)])
