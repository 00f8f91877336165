"""Gradient descent is the unit-step Euler scheme of the free-energy flow, to rounding (arXiv:2606.05326).

The reference is plain NumPy gradient descent written here, with nothing of the package but its data. Rounding of size 1e-16 per
step grows by |ηS − 1| ≈ 1 at the edge of stability and by more in the onset's spike, which is why runs with a moderate onset are
taken; 1e-10 after 1,000 steps leaves three decades for it.
"""

import numpy as np
import pytest
from scipy.special import erf

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task, digits
from tests.helpers.landscapes import Valley

STEPS = 1000


def with_bias(inputs):
    return np.hstack([inputs, np.ones((len(inputs), 1))])


def tanh_squared_gradient(x, task):
    """Mean-field gradient of ½|f − y|², tanh."""
    inputs = with_bias(task.inputs)
    h = np.tanh(inputs @ x[:, 1:].T)
    r = (h @ x[:, :1] / len(x) - task.targets) / len(inputs)
    return np.hstack([h.T @ r, ((r @ x[:, :1].T) * (1 - h**2)).T @ inputs])


def gelu_softmax_gradient(x, task):
    """Mean-field gradient of the cross-entropy of softmax(f), gelu, ten outputs."""
    inputs = with_bias(task.inputs)
    a, z = x[:, :10], inputs @ x[:, 10:].T
    cdf = 0.5 * (1 + erf(z / np.sqrt(2)))
    slope = cdf + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    f = (z * cdf) @ a / len(x)
    p = np.exp(f - f.max(axis=1, keepdims=True))
    r = (p / p.sum(axis=1, keepdims=True) - task.targets) / len(inputs)
    return np.hstack([(z * cdf).T @ r, ((r @ a.T) * slope).T @ inputs])


def soft_digits():
    """Ten classes with smoothed labels: the loss keeps its curvature, so training stays at the edge of stability."""
    task = digits(n=60, target="classes")
    return Task(task.inputs, 0.8 * task.targets + 0.02, "smoothed digits")


def networks():
    tanh = Risk(TwoLayerNetwork(64), digits(n=60, seed=4))
    gelu = Risk(TwoLayerNetwork(64, 10, "gelu"), soft_digits(), "softmax")
    return {
        "tanh, squared": (tanh, tanh_squared_gradient, 0.4),
        "gelu, softmax": (gelu, gelu_softmax_gradient, 2.4),
    }


def euler_iterates(objective, x0, learning_rate):
    flow = solvers.FreeEnergyFlow(learning_rate, closure="endpoint", growth="linear")
    run = solvers.solve(flow, objective, x0, STEPS, dt=1.0, integrator=solvers.Euler())
    signs = (-1.0) ** np.arange(STEPS + 1).reshape(-1, *[1] * x0.ndim)
    return run.centers + signs * run.fluctuations


@pytest.mark.parametrize(
    "name",
    [
        "tanh, squared",
        pytest.param("gelu, softmax", marks=[pytest.mark.slow, pytest.mark.essential]),
    ],
)
def test_networks(name):
    risk, gradient, eta = networks()[name]
    x = x0 = risk.network.initialize(50, seed=0)
    iterates = euler_iterates(risk, x0, eta)
    worst, sharpness = 0.0, []
    for k in range(STEPS + 1):
        worst = max(worst, np.abs(iterates[k] - x).max())
        if k % 100 == 50:
            sharpness.append(solvers.top_eigenpairs(risk, x).values[0])
        x = x - eta * gradient(x, risk.task)
    assert worst < 1e-10
    assert eta * max(sharpness) > 1.95  # at the edge of stability, or this showed little


def test_landscape():
    """The valley, started beyond its edge y = 2/η: the oscillation grows at once, from 0.1 and not from rounding."""
    valley, eta, x0 = Valley(), 0.3, np.array([0.1, 6.5])
    iterates = euler_iterates(valley, x0, eta)
    x, y = x0
    worst = 0.0
    for k in range(STEPS + 1):
        worst = max(worst, np.abs(iterates[k] - [x, y]).max())
        x, y = x - eta * (x * y + 1.5 * x * x - 0.01), y - eta * (0.5 * x * x - 0.01)
    assert worst < 1e-10
    assert y > 0.99 * 2 / eta
