"""What a saddle step costs, and when it is divided."""

import numpy as np
import pytest

from solvers.jko.particles.steps import JKO
from tests.helpers.particle_energies import Quadratic


def cloud(n, dimension, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dimension))


class Counted:
    """Counts the gradients and Hessian products that a step takes."""

    def __init__(self, energy):
        self.energy, self.gradients, self.products = energy, 0, 0

    def value(self, x, weights=None):
        return self.energy.value(x)

    def gradient(self, x, weights=None):
        self.gradients += 1
        return self.energy.gradient(x)

    def hvp(self, x, v, weights=None):
        self.products += 1
        return self.energy.hvp(x, v)


@pytest.mark.parametrize("size", [1e-1, 1e-7])
def test_a_saddle_step_takes_no_gradient_twice(size):
    """Two where it starts and two for each of Newton's iterations; a quadratic energy needs one."""
    energy = Counted(Quadratic())
    state = np.stack([cloud(30, 2), size * cloud(30, 2, seed=1)])
    step = JKO(0.5, learning_rate=0.5, saddle=True).step(energy, state)
    assert step.converged and step.inner_iterations == 1 and step.outer_iterations == 1
    assert energy.gradients == 4
    w, u = state
    # (w − w̄)/τ + ηw = 0 and (u − ū)/τ − ηu + 2u = 0 for E = ½|x|².
    assert step.state[0] == pytest.approx(w / 1.25, rel=1e-6)
    assert step.state[1] == pytest.approx(u / 1.75, rel=1e-6)


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_whether_the_ascent_step_has_a_solution_is_decided_at_its_own_size(rate):
    """τ(ηS − 2) against 1 for E = ½S|x|²: above it the step is divided, below it is not."""
    tau, sharpness = 0.5, 2.0 + rate / 0.5
    state = np.stack([cloud(30, 2), 1e-3 * cloud(30, 2, seed=1)])
    step = JKO(tau, saddle=True).step(Quadratic(sharpness), state)
    assert step.converged and (step.substeps == 1) == (rate < 1)
    if rate > 1:
        assert "τ(ηS − 2) = 1.1 is not below 1" in step.message
