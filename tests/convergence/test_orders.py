"""Every integrator converges at the order it declares, on the free-energy flow at the edge of stability."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import solvers
from tests.landscapes import Valley

ETA, START, STEPS = 0.3, np.array([0.1, 6.5]), 8
FIXED_STEP = [solvers.Euler(), solvers.Midpoint(), solvers.RK4()]


def reference():
    """The same flow written out by hand, by SciPy's order-8 scheme at 1e-13."""
    valley = Valley()
    u0 = 0.5 * ETA * valley.gradient(START)

    def velocity(t, z):
        plus, minus = valley.gradient(z[:2] + z[2:]), valley.gradient(z[:2] - z[2:])
        mean, half_difference = 0.5 * (plus + minus), 0.5 * (plus - minus)
        return np.concatenate([-ETA * mean, ETA * half_difference - 2 * z[2:]])

    start = np.concatenate([START - u0, u0])
    return solve_ivp(velocity, (0, STEPS), start, "DOP853", rtol=1e-13, atol=1e-15).y[:, -1]


def fitted_slope(dts, errors):
    return np.polyfit(np.log(dts), np.log(errors), 1)[0]


def run(integrator, dt=None):
    flow = solvers.FreeEnergyFlow(ETA)
    return solvers.solve(flow, Valley(), START, STEPS, dt=dt, integrator=integrator)


@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_slope_is_the_declared_order(integrator):
    dts = [1 / 8, 1 / 16, 1 / 32, 1 / 64]
    exact = reference()
    errors = [np.abs(run(integrator, dt).state.values.ravel() - exact).max() for dt in dts]
    assert fitted_slope(dts, errors) == pytest.approx(integrator.order, abs=0.2)


@pytest.mark.parametrize("growth", ["linear", "exact"])
@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_the_energy_balance_closes_at_the_declared_order(integrator, growth):
    """F(t) − F(0) = ∫ (−η|∂_w F|² + ⟨∂_u F, u̇⟩) dt, the integral being taken by the scheme itself."""
    dts = [1 / 8, 1 / 16, 1 / 32, 1 / 64]
    residuals = []
    for dt in dts:
        flow = solvers.FreeEnergyFlow(ETA, growth=growth)
        solution = solvers.solve(flow, Valley(), START, STEPS, dt=dt, integrator=integrator)
        change = solution.free_energies - solution.free_energies[0]
        residuals.append(np.abs(change - solution.dissipated).max())
    assert fitted_slope(dts, residuals) == pytest.approx(integrator.order, abs=0.2)


def test_adaptive_tolerance_is_respected():
    """Each accepted step errs by rtol (|y| + atol/rtol) at most and the flow, over 8 iterations with ηS − 2 < ½, amplifies an
    error by less than e⁴: a run of n steps ends within n e⁴ rtol |y|, and the error falls in proportion to rtol."""
    exact = reference()
    rtols = [1e-4, 1e-6, 1e-8, 1e-10]
    errors = []
    for rtol in rtols:
        solution = run(solvers.Adaptive(rtol=rtol, atol=1e-3 * rtol))
        errors.append(np.abs(solution.state.values.ravel() - exact).max())
    inner_steps = 10 * STEPS * (1e-4 / np.array(rtols)) ** 0.2
    assert np.all(errors <= inner_steps * np.exp(4.0) * np.array(rtols) * np.abs(exact).max())
    assert fitted_slope(rtols, errors) == pytest.approx(1.0, abs=0.25)
