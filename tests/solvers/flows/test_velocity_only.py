"""A flow that gives its velocity, and not at which rate the free energy changes."""

from dataclasses import dataclass

import numpy as np
import pytest

import solvers
from meanfield.landscapes import Valley

X0 = np.array([0.0, 2.0])


@dataclass(frozen=True)
class Plain(solvers.WithoutFluctuation, solvers.ContinuousFlow):
    learning_rate: float
    delay: bool = False

    def start(self, objective, x0):
        return x0

    def velocity(self, objective, time, state):
        return -self.learning_rate * objective.gradient(state)


@pytest.mark.parametrize("integrator", ["euler", "midpoint", "rk4"])
def test_it_moves_as_with_a_rate(integrator):
    """The energy rides along as one more coordinate, which changes none of the others."""
    flows = Plain(0.1), solvers.GradientFlow(0.1)
    plain, known = (
        solvers.solve(flow, Valley(), X0, steps=9, integrator=integrator) for flow in flows
    )
    np.testing.assert_array_equal(plain.centers, known.centers)
    assert np.isnan(plain.dissipated).all() and np.isfinite(known.dissipated).all()
    assert plain.status == "complete"


def test_the_error_control_needs_no_rate():
    """ẋ = −η x³ on x⁴/4, whose solution is x_0/√(1 + 2 η x_0² t)."""
    scheme = solvers.Adaptive(rtol=1e-10, atol=1e-12)
    quartic = power()
    solution = solvers.solve(Plain(0.1), quartic, np.array([2.0]), steps=20, integrator=scheme)
    exact = 2.0 / np.sqrt(1 + 2 * 0.1 * 4.0 * solution.times)
    np.testing.assert_allclose(solution.centers[:, 0], exact, rtol=1e-9)
    assert np.isnan(solution.dissipated).all()


def test_with_a_delay_the_unit_step_is_gradient_descent():
    delayed = solvers.solve(Plain(0.1, delay=True), Valley(), X0, steps=9, dt=1.0)
    descent = solvers.solve(solvers.GradientDescent(0.1), Valley(), X0, steps=9)
    np.testing.assert_allclose(delayed.centers, descent.iterates, rtol=1e-14, atol=1e-14)


def test_a_flow_with_neither_says_so():
    @dataclass(frozen=True)
    class Nothing(Plain):
        velocity = solvers.ContinuousFlow.velocity

    with pytest.raises(NotImplementedError, match="Nothing must define velocity or rates"):
        solvers.solve(Nothing(0.1), Valley(), X0, steps=1)


def power():
    class Power:
        def value(self, x):
            return float(np.sum(x**4) / 4)

        def gradient(self, x):
            return x**3

    return Power()
