"""The half-step delay ż(t) = V(z(t − ½))."""

import numpy as np
import pytest

import solvers
from tests.helpers.landscapes import Quadratic, Valley

VALLEY = Valley()
START = np.array([0.1, 6.5])
DELAYED = solvers.FreeEnergyFlow(0.3, delay=True)


def test_the_unit_step_is_gradient_descent():
    """To rounding, 1e-16 per step, that the oscillation at the edge of stability does not damp: 500 steps."""
    descent = solvers.solve(solvers.GradientDescent(0.3), VALLEY, START, 500)
    delayed = solvers.solve(DELAYED, VALLEY, START, 500, dt=1)
    np.testing.assert_allclose(delayed.centers, descent.centers, rtol=0, atol=1e-12)
    plain = solvers.solve(solvers.GradientFlow(0.3, delay=True), VALLEY, START, 500, dt=1)
    np.testing.assert_allclose(plain.centers, descent.iterates, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dt", [1, 1 / 2, 1 / 3, 1 / 4])
def test_it_goes_on_from_a_state(dt):
    whole = solvers.solve(DELAYED, VALLEY, START, 20, dt=dt)
    half = solvers.solve(DELAYED, VALLEY, START, 10, dt=dt)
    assert half.state.history.shape == (len(half.state.history), 2, 2)
    rest = solvers.solve(DELAYED, VALLEY, half.state, 10, dt=dt)
    np.testing.assert_array_equal(whole.centers[10:], rest.centers)


def test_a_history_of_another_step_is_refused():
    half = solvers.solve(DELAYED, VALLEY, START, 10, dt=1 / 4)
    with pytest.raises(
        ValueError, match="x0 must have a history of 4 states for dt = 0.125, got 2"
    ):
        solvers.solve(DELAYED, VALLEY, half.state, 1, dt=1 / 8)


@pytest.mark.parametrize("curvature", [1.6, 1.9, 2.1])
def test_a_mode_grows_at_the_rate_of_the_characteristic_equation(curvature):
    """u̇(t) = s u(t − ½), s = ηλ − 2, has solutions e^{rt} with r = s e^{−r/2}. The others of that equation decay faster, by
    e^{−5t} at least; after 40 iterations what is left is the scheme's r (1 + O(r dt)²)."""
    run = solvers.solve(
        solvers.FreeEnergyFlow(1.0, delay=True),
        Quadratic(np.array([[curvature]])),
        np.ones(1),
        60,
        dt=1 / 64,
    )
    measured = np.log(run.fluctuations[60, 0] / run.fluctuations[40, 0]) / 20
    rate = curvature - 2
    for _ in range(100):
        rate = (curvature - 2) * np.exp(-rate / 2)
    assert measured == pytest.approx(rate, abs=abs(rate) ** 3 / 64**2)


@pytest.mark.parametrize("delay", [False, True])
def test_below_the_edge_the_gradient_flow_errs_by_eta_or_eta_squared(delay):
    """At a fixed time ηk, against the iterates of gradient descent, on the valley's slopes at ηS < ½."""
    etas, errors = 0.02 / 2.0 ** np.arange(4), []
    for eta in etas:
        steps = round(0.4 / eta)
        descent = solvers.solve(solvers.GradientDescent(eta), VALLEY, np.array([0.8, 6.0]), steps)
        flow = solvers.GradientFlow(eta, delay=delay)
        dt = {"dt": 1 / 16} if delay else {"integrator": solvers.Adaptive(1e-11, 1e-13)}
        model = solvers.solve(flow, VALLEY, np.array([0.8, 6.0]), steps, **dt)
        errors.append(np.abs(model.centers[-1] - descent.iterates[-1]).max())
    slope = np.polyfit(np.log(etas), np.log(errors), 1)[0]
    assert slope == pytest.approx(2 if delay else 1, abs=0.2)


def test_it_has_no_energy_balance():
    assert np.isnan(solvers.solve(DELAYED, VALLEY, START, 3).dissipated).all()


def test_it_takes_no_integrator():
    with pytest.raises(ValueError, match="integrator must be None for .*got RK4"):
        solvers.solve(DELAYED, VALLEY, START, 3, integrator=solvers.RK4())
