"""Minimising movements are of first order in the step size, against references that share no code with them."""

import numpy as np
import pytest

from solvers import JKO, transport
from tests.convergence.references import VALLEY, dop853, free_energy_velocity
from tests.helpers.particle_energies import Quadratic, Wavy

TIME, STEPS = 1.0, [8, 16, 32, 64]
ETA = 0.3


def fitted_order(steps, errors):
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def march(scheme, objective, state, steps, **arguments):
    for _ in range(steps):
        step = scheme.step(objective, state, **arguments)
        assert all(c.holds for c in step.certificates) and step.substeps == 1
        state = step.state
    return state


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_a_gradient_flow_of_interacting_particles(weighted):
    """W2 to the particles of ẋ_i = −∇E'[μ](x_i) in an uneven potential with interaction."""
    rng = np.random.default_rng(0)
    energy, x = Wavy(2, 2), rng.standard_normal((10, 2))
    p = rng.dirichlet(np.ones(10)) if weighted else None

    def velocity(z):
        return -energy.gradient(z.reshape(x.shape), p).ravel()

    exact = dop853(velocity, x.ravel(), TIME).reshape(x.shape)
    errors = []
    for m in STEPS:
        end = march(JKO(TIME / m), energy, x, m, weights=p)
        errors.append(transport.w2(end, exact, p, p).distance)
    assert fitted_order(STEPS, errors) == pytest.approx(1, abs=0.2)


def test_the_ornstein_uhlenbeck_process():
    """Standard deviation after t = 1 from σ = 2 at temperature one, σ² = 1 + 3e⁻²ᵗ, by the gaps of 40 particles."""
    x = np.linspace(-1, 1, 40)[:, None]
    x *= 2 / np.sqrt(np.mean(x**2))
    exact, errors = np.sqrt(1 + 3 * np.exp(-2 * TIME)), []
    for m in STEPS:
        end = march(JKO(TIME / m, temperature=1.0), Quadratic(), x, m)
        errors.append(abs(np.sqrt(np.mean(end**2)) - exact))
    assert fitted_order(STEPS, errors) == pytest.approx(1, abs=0.2)


def test_descent_and_ascent_on_the_free_energy():
    start = np.array([[0.1, 6.5], [0.05, 0.0]])
    exact = dop853(lambda z: free_energy_velocity(z, ETA), start.ravel(), 8)
    errors = []
    for m in STEPS:
        scheme = JKO(8 / m, learning_rate=ETA, saddle=True)
        errors.append(np.abs(march(scheme, VALLEY, start, m).ravel() - exact).max())
    assert fitted_order(STEPS, errors) == pytest.approx(1, abs=0.2)
