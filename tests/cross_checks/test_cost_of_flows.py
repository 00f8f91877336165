"""What the default schemes cost on the digits, and how far from the exact flow they end."""

import numpy as np
import pytest

import meanfield
import solvers

ETA, STEPS = 1.0, 400


class Counted:
    """A risk, and the gradients and Hessian products taken of it."""

    def __init__(self, risk):
        self.risk, self.gradients, self.products = risk, 0, 0
        self.value, self.inner = risk.value, risk.inner

    def gradient(self, x):
        self.gradients += 1
        return self.risk.gradient(x)

    def hvp(self, x, v):
        self.products += 1
        return self.risk.hvp(x, v)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("flow", "gradients", "products"),
    [
        (solvers.GradientFlow(ETA), 2.5, 0),
        (solvers.FreeEnergyFlow(ETA), 4.0, 0),
        (solvers.EdgeFlow(ETA), 4.0, 2.0),
    ],
    ids=repr,
)
def test_evaluations_per_iteration_and_error_on_the_digits(flow, gradients, products, seed):
    """N = 400, n = 300, against RK4 with dt = 1/16; what the spectral radius takes is counted."""
    task = meanfield.tasks.digits(300)
    risk = meanfield.Risk(meanfield.TwoLayerNetwork(task.input_dim), task)
    x0 = risk.network.initialize(400, seed=seed)
    exact = solvers.solve(flow, risk, x0, STEPS, save_every=STEPS, dt=1 / 16)
    counted, marks = Counted(risk), []

    def mark(observation):
        marks.append((counted.gradients, counted.products))

    run = solvers.solve(flow, counted, x0, STEPS, save_every=STEPS, observe=mark)
    per_iteration = (np.array(marks[-1]) - marks[0]) / STEPS
    assert per_iteration[0] <= gradients
    assert per_iteration[1] <= products
    error = np.sum((run.centers[-1] - exact.centers[-1]) ** 2, axis=1)
    assert np.sqrt(np.mean(error)) <= 2e-3
    if exact.fluctuation_trace[-1] > 0.0:
        ratio = np.sqrt(run.fluctuation_trace[-1] / exact.fluctuation_trace[-1])
        assert ratio == pytest.approx(1.0, abs=1e-3)
