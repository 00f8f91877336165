"""Every scheme converges at the order it declares, on every flow, against references that share no code with it."""

import numpy as np
import pytest

import solvers
from tests.convergence.references import (
    VALLEY,
    central_velocity,
    delayed_end,
    dop853,
    edge_velocity,
    free_energy_velocity,
    hessian,
    rod_velocity,
)

ETA, START, STEPS = 0.3, np.array([0.1, 6.5]), 8
FIXED_STEP = [solvers.Euler(), solvers.Midpoint(), solvers.RK4()]
DTS = [1 / 8, 1 / 16, 1 / 32, 1 / 64]
U0 = 0.5 * ETA * VALLEY.gradient(START)


def fitted_slope(dts, errors):
    return np.polyfit(np.log(dts), np.log(errors), 1)[0]


def slope(flow, exact, start=START, dts=DTS, part=slice(None), integrator=None):
    """Of the error of the flow's state after STEPS iterations."""
    errors = []
    for dt in dts:
        end = solvers.solve(flow, VALLEY, start, STEPS, dt=dt, integrator=integrator).state.values
        errors.append(np.abs(end.ravel()[part] - exact).max())
    return fitted_slope(dts, errors)


def free_energy_end():
    return dop853(lambda z: free_energy_velocity(z, ETA), np.concatenate([START - U0, U0]), STEPS)


@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_free_energy_flow(integrator):
    flow = solvers.FreeEnergyFlow(ETA)
    assert slope(flow, free_energy_end(), integrator=integrator) == pytest.approx(
        integrator.order, abs=0.2
    )


@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_gradient_flow(integrator):
    # Its one fast mode, of rate ηS = 2, is gone after eight iterations with all its error; it is watched for two.
    exact = dop853(lambda w: -ETA * VALLEY.gradient(w), START, 2)
    errors = [
        np.abs(
            solvers.solve(
                solvers.GradientFlow(ETA), VALLEY, START, 2, dt=dt, integrator=integrator
            ).centers[-1]
            - exact
        ).max()
        for dt in DTS
    ]
    assert fitted_slope(DTS, errors) == pytest.approx(integrator.order, abs=0.2)


@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_edge_flow(integrator):
    q = np.linalg.eigh(hessian(START))[1][:, -1]
    q *= np.sign(q @ U0)
    start = np.concatenate([START - U0, q, [np.log(q @ U0)]])
    exact = dop853(lambda z: edge_velocity(z, ETA), start, STEPS)
    measured = slope(solvers.EdgeFlow(ETA), exact, part=slice(5), integrator=integrator)
    assert measured == pytest.approx(integrator.order, abs=0.2)


@pytest.mark.slow
@pytest.mark.essential
def test_rod_flow():
    """Compared in (w, Σ): the factors themselves are free to rotate."""
    start = np.concatenate([START - U0, np.outer(U0, U0).ravel()])
    exact = dop853(lambda z: rod_velocity(z, ETA), start, STEPS)
    errors = []
    for dt in [1.0, *DTS]:
        end = solvers.solve(solvers.RodFlow(ETA), VALLEY, START, STEPS, dt=dt).state.values
        sigma = end[1:].T @ end[1:]
        errors.append(np.abs(np.append(end[0], sigma.ravel()) - exact).max())
    assert errors.pop(0) < 5e-4  # the default step
    assert fitted_slope(DTS, errors) == pytest.approx(solvers.RodFlow.order, abs=0.2)


def test_the_rod_flow_is_stable_far_past_the_edge():
    """At ηS = 4 the center relaxes at the rate 12, and Σ grows by e⁶ per iteration."""
    begun = np.array([0.01 / 13.3, 13.3])
    u0 = 0.5 * ETA * VALLEY.gradient(begun)
    exact = dop853(
        lambda z: rod_velocity(z, ETA), np.concatenate([begun - u0, np.outer(u0, u0).ravel()]), 4
    )
    end = solvers.solve(solvers.RodFlow(ETA), VALLEY, begun, 4).state.values
    np.testing.assert_allclose(end[0], exact[:2], rtol=0, atol=1e-4)
    assert np.sum(end[1:] ** 2) == pytest.approx(exact[2] + exact[5], rel=0.1)


def test_central_flow():
    """From a point on S = 2/η with ⟨∇S, ∇E⟩ < 0, where the closed form of one mode applies."""
    x = -0.01
    on_edge = np.array([x, 0.0])  # y such that the top eigenvalue is 2/η exactly
    on_edge[1] = 2 / ETA - 3 * x - x**2 / (2 / ETA)
    assert np.linalg.eigvalsh(hessian(on_edge))[-1] == pytest.approx(2 / ETA, rel=1e-14)
    exact = dop853(lambda w: central_velocity(w, ETA), on_edge, STEPS)
    flow = solvers.CentralFlow(ETA, max_modes=1)
    values = flow.start(VALLEY, START)
    values[0] = on_edge
    start = solvers.State(0, values, np.nan)
    measured = slope(flow, exact, start=start, part=slice(2))
    assert measured == pytest.approx(flow.order, abs=0.2)
    by_default = solvers.solve(flow, VALLEY, start, STEPS).centers[-1]
    assert np.abs(by_default - exact).max() < 5e-4


@pytest.mark.parametrize("m", [0, 1], ids=["even", "odd"])
def test_half_step_delay(m):
    """1/dt even (the delayed time half-way between two states) and odd (on a state): order two both ways."""
    start = np.concatenate([START - U0, U0])
    exact = delayed_end(lambda z: free_energy_velocity(z, ETA), start, STEPS)
    dts = [1 / (8 + m), 1 / (16 + m), 1 / (32 + m), 1 / (64 + m)]
    measured = slope(solvers.FreeEnergyFlow(ETA, delay=True), exact, dts=dts)
    assert measured == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("growth", ["linear", "exact"])
@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_the_energy_balance_of_the_free_energy_flow(integrator, growth):
    """F(t) − F(0) = ∫ (−η|∂_w F|² + ⟨∂_u F, u̇⟩) dt, the integral being taken by the scheme itself."""
    balance_closes(solvers.FreeEnergyFlow(ETA, growth=growth), integrator)


@pytest.mark.parametrize("integrator", FIXED_STEP, ids=repr)
def test_the_energy_balance_of_the_edge_flow(integrator):
    balance_closes(solvers.EdgeFlow(ETA), integrator)


def balance_closes(flow, integrator):
    residuals = []
    for dt in DTS:
        solution = solvers.solve(flow, VALLEY, START, STEPS, dt=dt, integrator=integrator)
        change = solution.free_energies - solution.free_energies[0]
        residuals.append(np.abs(change - solution.dissipated).max())
    assert fitted_slope(DTS, residuals) == pytest.approx(integrator.order, abs=0.2)


def test_adaptive_tolerance_is_respected():
    """Each accepted step errs by rtol (|y| + atol/rtol) at most and the flow, over 8 iterations with ηS − 2 < ½, amplifies an
    error by less than e⁴: a run of n steps ends within n e⁴ rtol |y|, and the error falls in proportion to rtol."""
    exact = free_energy_end()
    rtols = [1e-4, 1e-6, 1e-8, 1e-10]
    errors = []
    for rtol in rtols:
        scheme = solvers.Adaptive(rtol=rtol, atol=1e-3 * rtol)
        run = solvers.solve(solvers.FreeEnergyFlow(ETA), VALLEY, START, STEPS, integrator=scheme)
        errors.append(np.abs(run.state.values.ravel() - exact).max())
    inner_steps = 10 * STEPS * (1e-4 / np.array(rtols)) ** 0.2
    assert np.all(errors <= inner_steps * np.exp(4.0) * np.array(rtols) * np.abs(exact).max())
    assert fitted_slope(rtols, errors) == pytest.approx(1.0, abs=0.25)
