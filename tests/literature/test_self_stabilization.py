"""Self-stabilisation (arXiv:2209.15594): the reduced model of one and of several modes."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import solvers
from meanfield.landscapes import RiverValley, Valley
from tests.helpers.landscapes import Quadratic

ETA = 0.3
VALLEY = Valley()
POINT = np.array([0.0, 2 / ETA])


def model():
    return solvers.SelfStabilization.from_objective(VALLEY, POINT, ETA)


def conserved(flow, run):
    """½U² + ¼βa² − ½α log a² with α = −Ψ[∇h], β = ΨΨ*; here ε and 1."""
    a = np.array([flow.amplitudes(VALLEY, u)[0] for u in run.fluctuations])
    curvature = np.array([flow.excess_curvature(VALLEY, w)[0, 0] for w in run.centers])
    return 0.5 * curvature**2 + 0.25 * a**2 - 0.5 * VALLEY.epsilon * np.log(a**2)


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(
    "integrator", [solvers.Euler(), solvers.Midpoint(), solvers.RK4()], ids=repr
)
def test_one_mode_conserves_its_energy_to_the_integrators_order(integrator):
    flow = model()
    dts, errors = [1, 1 / 2, 1 / 4, 1 / 8], []
    for dt in dts:
        run = solvers.solve(flow, VALLEY, np.array([0.05, 6.7]), 200, dt=dt, integrator=integrator)
        energy = conserved(flow, run)
        errors.append(np.abs(energy - energy[0]).max())
    slope = np.polyfit(np.log(dts), np.log(errors), 1)[0]
    assert (
        slope >= integrator.order - 0.2
    )  # of a conserved quantity the error may fall one order faster
    assert slope <= integrator.order + 1.2


@pytest.mark.slow
@pytest.mark.essential
def test_one_mode_is_the_published_system():
    """a' = ηUa, U' = η(α − ½βa²), solved by SciPy."""
    flow, x0 = model(), np.array([0.05, 6.7])
    run = solvers.solve(flow, VALLEY, x0, 200, dt=1 / 16)
    a0 = flow.amplitudes(VALLEY, run.fluctuations[0])[0]
    u0 = flow.excess_curvature(VALLEY, run.centers[0])[0, 0]
    eps = VALLEY.epsilon
    expected = solve_ivp(
        lambda t, z: [ETA * z[1] * z[0], ETA * (eps - 0.5 * z[0] ** 2)],
        (0, 200),
        [a0, u0],
        "DOP853",
        rtol=1e-12,
        atol=1e-14,
    ).y[:, -1]
    # RK4 of 3,200 steps of rates below one: (1/16)⁴ per unit of time, 200 of them, over 5!
    assert flow.amplitudes(VALLEY, run.fluctuations[-1])[0] == pytest.approx(expected[0], abs=1e-5)
    assert flow.excess_curvature(VALLEY, run.centers[-1])[0, 0] == pytest.approx(
        expected[1], abs=1e-5
    )


@pytest.mark.slow
@pytest.mark.essential
def test_several_modes_are_the_published_system():
    """ȧ = ηUa, U̇ = −η(Ψ[∇h] + ½ΨΨ*[aaᵀ]) with Ψ from third derivatives of the river valley of codimension two, by SciPy."""
    landscape, point = RiverValley(2), np.array([0.0, 0.0, 2 / ETA, -0.25, 0.0])
    flow = solvers.SelfStabilization.from_objective(landscape, point, ETA, modes=2)
    x0 = point + np.array([0.03, -0.02, 0, 0, 0])
    run = solvers.solve(flow, landscape, x0, 100, dt=1 / 16)
    v = flow.vectors
    across = np.eye(5) - v.T @ v
    psi = np.empty((2, 2, 5))
    for i in range(2):
        for j in range(2):
            pair = landscape.third(point, v[i] + v[j]) - landscape.third(point, v[i] - v[j])
            psi[i, j] = across @ pair / 4
    drift = psi @ (across @ landscape.gradient(point))

    def velocity(t, z):
        a, curvature = z[:2], z[2:].reshape(2, 2)
        push = psi @ np.einsum("ijd,i,j->d", psi, a, a)
        return np.concatenate([ETA * curvature @ a, -ETA * (drift + 0.5 * push).ravel()])

    a0 = flow.amplitudes(landscape, run.fluctuations[0])
    u0 = flow.excess_curvature(landscape, run.centers[0])
    end = solve_ivp(
        velocity, (0, 100), np.append(a0, u0.ravel()), "DOP853", rtol=1e-12, atol=1e-14
    ).y[:, -1]
    np.testing.assert_allclose(
        flow.amplitudes(landscape, run.fluctuations[-1]), end[:2], rtol=0, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.essential
def test_near_the_edge_it_is_gradient_descent_to_leading_order():
    """One swing of the valley, started at the edge with a of order √ε: relative corrections are of order √ε = 0.03 per swing
    at ε = 0.001."""
    valley = Valley(0.0, 0.001)
    x0 = np.array([0.08, 2 / ETA])
    flow = solvers.SelfStabilization.from_objective(valley, POINT, ETA)
    reduced = solvers.solve(flow, valley, x0, 300)
    descent = solvers.solve(solvers.GradientDescent(ETA), valley, x0, 300)
    swing = np.ptp(descent.centers[:, 1])
    assert np.abs(reduced.centers[:, 1] - descent.centers[:, 1]).max() < 0.2 * swing


@pytest.mark.parametrize("modes", [0, 2, 1.5])
def test_modes_out_of_range_are_refused(modes):
    with pytest.raises(ValueError, match="modes must be .*got .*"):
        solvers.SelfStabilization.from_objective(VALLEY, POINT, ETA, modes)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"x0 must have shape \(2,\), got \(3,\)"):
        solvers.solve(model(), Quadratic(np.eye(3)), np.ones(3), 1)
