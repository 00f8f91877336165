"""Minimising movements and the phase-space PDE as flows of `solve`."""

import numpy as np
import pytest

import meanfield
import solvers
from meanfield.landscapes import Valley
from tests.helpers.line_network import sine_risk

ETA = 2.5  # η times the sharpness at the start: 1.9


@pytest.fixture(scope="module")
def risk():
    return sine_risk(20)


@pytest.fixture(scope="module")
def x0(risk):
    return risk.network.initialize(60, seed=1)


def solve(flow, risk, x0, steps=4, **options):
    return solvers.solve(flow, risk, x0, steps, **options)


@pytest.mark.parametrize(
    ("movements", "flow"),
    [
        (solvers.JKOFlow(ETA), solvers.GradientFlow(ETA)),
        (solvers.JKOFlow(ETA, saddle=True), solvers.FreeEnergyFlow(ETA)),
    ],
    ids=["gradient flow", "free-energy flow"],
)
def test_minimising_movements_approach_their_flow_at_first_order(risk, x0, movements, flow):
    exact = solve(flow, risk, x0, 1, integrator=solvers.Adaptive(1e-9, 1e-9)).state.values.ravel()
    dts = [1 / 4, 1 / 8, 1 / 16]
    errors = [
        np.abs(solve(movements, risk, x0, 1, dt=dt).state.values.ravel() - exact).max()
        for dt in dts
    ]
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.2)


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(
    ("movements", "flow"),
    [
        (solvers.JKOFlow(ETA, order=2), solvers.GradientFlow(ETA)),
        (solvers.JKOFlow(ETA, saddle=True, order=2), solvers.FreeEnergyFlow(ETA)),
    ],
    ids=["gradient flow", "free-energy flow"],
)
def test_of_order_two_they_approach_it_at_second_order(risk, x0, movements, flow):
    exact = solve(flow, risk, x0, 1, integrator=solvers.Adaptive(1e-10, 1e-10))
    dts, errors = [1 / 16, 1 / 32, 1 / 64], []
    for dt in dts:
        run = solve(movements, risk, x0, 1, dt=dt)
        pairs = [(run.centers[-1], exact.centers[-1])]
        pairs.append((run.fluctuations[-1], exact.fluctuations[-1]))
        errors.append(max(np.abs(a - b).max() for a, b in pairs))
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("saddle", [False, True])
def test_of_order_two_it_takes_the_steps_of_the_scheme(risk, x0, saddle):
    """One of first order, then from two states; to the rounding of the speeds in between."""
    flow = solvers.JKOFlow(ETA, saddle=saddle, order=2)
    run = solve(flow, risk, x0, 3, dt=0.5)
    scheme = solvers.JKO(0.5, ETA, saddle=saddle)
    earlier = flow.start(risk, x0)[:2] if saddle else x0
    here = scheme.step(risk, earlier).state
    for _ in range(5):
        earlier, here = here, scheme.step(risk, here, earlier=earlier).state
    np.testing.assert_allclose(run.centers[-1], here[0] if saddle else here, atol=1e-9)
    half = solve(flow, risk, x0, 1, dt=0.5)
    rest = solvers.solve(flow, risk, half.state, 2, dt=0.5)
    np.testing.assert_array_equal(rest.state.values, run.state.values)
    mirrored = flow.mirrored(run.state.values)
    np.testing.assert_array_equal(flow.center(0, mirrored), run.centers[-1])
    np.testing.assert_array_equal(flow.fluctuation(0, mirrored), -run.fluctuations[-1])


def test_a_plan_that_is_not_the_identity_is_followed():
    """Particles that overtake each other on the line: the speeds are those of the monotone plan, as `solvers.evolve` has them."""
    energy = solvers.energies.Potential(lambda x: 0.5 * (x[:, 0] - np.array([4.0, 0.0, 2.0])) ** 2)
    start = np.array([[0.0], [1.0], [2.0]])
    seen = []
    flow = solvers.JKOFlow(1.0, order=2)
    run = solvers.solve(
        flow, energy, start, 3, dt=1.0, observe=lambda o: seen.append(o.diagnostics)
    )
    expected = solvers.evolve(energy, start, 3.0, 1.0, 2)
    assert [told["plan_changed"] for told in seen[1:]].count(1.0) >= 1
    np.testing.assert_allclose(
        run.centers, [measure.positions for measure in expected.measures], atol=1e-9
    )


def test_every_step_reports_its_certificate(risk, x0):
    seen = []
    solve(solvers.JKOFlow(ETA, saddle=True), risk, x0, observe=lambda o: seen.append(o.diagnostics))
    assert seen[0] == {}
    for told in seen[1:]:
        assert set(told) == set(solvers.JKOFlow.diagnostic_names)
        assert told["certificate_excess"] < 1e-12
        assert told["plan_changed"] == told["rejected_steps"] == 0


def test_a_landscape_is_one_particle():
    """Then the step is implicit Euler, here checked by its residual."""
    valley, flow = Valley(), solvers.JKOFlow(0.3)
    run = solve(flow, valley, np.array([0.1, 6.0]), steps=10, dt=2)
    before, after = run.centers[-2:]
    np.testing.assert_allclose(
        after - before + 2 * 0.3 * valley.gradient(after), 0, atol=1e-8 * np.abs(after).max()
    )


def test_a_step_without_a_solution_ends_the_run(risk):
    """An energy that falls faster than any square has no minimiser, whatever τ."""

    class Falling:
        def value(self, x):
            return -float(np.mean(x**4))

        def gradient(self, x):
            return -4 * x**3

        def hvp(self, x, v):
            return -12 * x**2 * v

        def inner(self, u, v):
            return float(np.mean(u * v))

    run = solve(solvers.JKOFlow(1.0), Falling(), np.full((3, 1), 1e3))
    assert run.status == "failed"
    assert "step 1" in run.message and "shorter step_size" in run.message


def test_the_pde_goes_on_from_a_state(risk, x0):
    flow = solvers.PhaseSpaceFlow(ETA, cells=(24, 24))
    whole = solve(flow, risk, x0)
    half = solve(flow, risk, x0, steps=2)
    rest = solvers.solve(flow, risk, half.state, 2)
    np.testing.assert_array_equal(rest.state.values, whole.state.values)
    assert rest.dissipated[-1] == whole.dissipated[-1]


def test_the_pde_as_particles_keeps_their_number(risk, x0):
    run = solve(solvers.PhaseSpaceFlow(ETA, cells=(24, 24)), risk, x0)
    assert run.centers.shape == run.fluctuations.shape == (5, 60, 1)
    density = solvers.PhaseSpaceFlow(ETA).density(run.state.values)
    assert density.masses.sum() == pytest.approx(1.0, abs=1e-12)
    assert run.fluctuation_trace[-1] == density.fluctuation_trace


def test_the_pde_refuses_particles_of_more_coordinates():
    network = meanfield.TwoLayerNetwork(1)
    risk = meanfield.Risk(network, meanfield.tasks.teacher_student(n=5, input_dim=1))
    with pytest.raises(ValueError, match=r"x0 must have shape \(N, 1\).*got \(4, 3\)"):
        solve(solvers.PhaseSpaceFlow(1.0), risk, network.initialize(4))
