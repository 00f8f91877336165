"""The minimal valley E = ½(y + ζx)x² − ε(x + y): multiple-scales example of the edge of stability; arXiv:2410.24206 (central
flow), 2602.01480 (rod flow), 2606.18080 (edge flow), 2606.05326 (free energy)."""

from functools import cache

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy.optimize import fsolve
from scipy.signal import argrelmax

import solvers
from meanfield.landscapes import Landscape, Valley

ETA, EDGE = 0.3, 2 / 0.3
VALLEY = Valley()
START = np.array(VALLEY.start)


@pytest.fixture(scope="module")
def descent():
    return solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 2000)


@cache
def sharpening(flow, steps=1500):
    """y of the center: along the valley's floor, the sharpness up to terms of order ε."""
    run = solvers.solve(flow, VALLEY, START, steps)
    assert run.status == "complete"
    return run.centers[:, 1]


def test_gradient_descent_passes_the_edge_and_peaks(descent):
    """Published digits: the tolerance is half a unit of the last one."""
    y = descent.iterates[:, 1]
    assert np.flatnonzero(y > EDGE)[0] == 223
    assert y.argmax() == 481
    assert y.max() == pytest.approx(7.4351, abs=5e-5)


@pytest.mark.slow
@pytest.mark.essential
def test_the_central_flow_rests_where_its_closed_form_does():
    """∇E + ½σ²∇S = 0 on S = 2/η, solved by SciPy. The scheme's fixed point is the flow's own."""

    def rest(z):
        (x, y), variance = z[:2], z[2]
        values, vectors = np.linalg.eigh(np.array([[y + 3 * x, x], [x, 0.0]]))
        push = 0.5 * variance * VALLEY.third(np.array([x, y]), vectors[:, -1])
        return [*(VALLEY.gradient(np.array([x, y])) + push), values[-1] - EDGE]

    expected = fsolve(rest, [0.0, EDGE, 0.02], xtol=1e-13)
    np.testing.assert_allclose(expected, [-0.002995, 6.67565, 0.01999], rtol=0, atol=5e-6)
    run = solvers.solve(solvers.CentralFlow(ETA), VALLEY, START, 2000, save_every=2000)
    np.testing.assert_allclose(run.centers[-1], expected[:2], rtol=0, atol=1e-9)
    assert run.fluctuation_trace[-1] == pytest.approx(expected[2], abs=1e-9)


@pytest.mark.slow
@pytest.mark.essential
def test_the_rod_flow_misses_the_onset_and_the_others_do_not(descent):
    """Its Σ is fed by gradients alone, and the valley's floor has none: y goes on rising long after gradient descent has come
    back.

    Gradient descent's overshoot is y − 2/η = 0.77; a flow that has the onset turns back within twice that."""
    limit = EDGE + 2 * (descent.iterates[:, 1].max() - EDGE)
    for flow in (
        solvers.EdgeFlow(ETA),
        solvers.CentralFlow(ETA),
        solvers.FreeEnergyFlow(ETA),
        solvers.FreeEnergyFlow(ETA, growth="exact"),
        solvers.FreeEnergyFlow(ETA, delay=True),
    ):
        assert sharpening(flow).max() < limit
    assert sharpening(solvers.RodFlow(ETA)).max() > limit
    assert sharpening(solvers.GradientFlow(ETA)).max() > limit


@pytest.mark.slow
@pytest.mark.parametrize("flow", [solvers.RodFlow(ETA), solvers.EdgeFlow(ETA)], ids=repr)
def test_started_at_the_edge_rod_and_edge_flow_come_to_rest(flow):
    """Published digits of y and tr Σ; what is left of the oscillation decays like e^{−t/300}."""
    run = solvers.solve(flow, VALLEY, np.array([0.1, 6.6]), 4000, save_every=4000)
    assert run.centers[-1, 1] == pytest.approx(6.67565, abs=5e-6)
    assert run.fluctuation_trace[-1] == pytest.approx(0.01999, abs=5e-6)


@pytest.mark.slow
@pytest.mark.essential
def test_the_half_step_delay_follows_gradient_descent_through_the_spike(descent):
    y = descent.centers[:1501, 1]
    rms = {
        name: np.sqrt(np.mean((sharpening(flow) - y) ** 2))
        for name, flow in (
            ("ode", solvers.FreeEnergyFlow(ETA)),
            ("exact", solvers.FreeEnergyFlow(ETA, growth="exact")),
            ("delay", solvers.FreeEnergyFlow(ETA, delay=True)),
        )
    }
    delayed = sharpening(solvers.FreeEnergyFlow(ETA, delay=True))
    assert rms["delay"] <= 0.003
    assert rms["ode"] == pytest.approx(0.127, abs=5e-4)
    assert rms["exact"] == pytest.approx(
        0.06754, abs=5e-5
    )  # RK4 at dt = 1/32; the published 0.067 is that at ½
    by_rk4 = solvers.solve(
        solvers.FreeEnergyFlow(ETA, growth="exact"), VALLEY, START, 1500, integrator="rk4"
    )
    assert np.sqrt(np.mean((by_rk4.centers[:, 1] - y) ** 2)) == pytest.approx(0.067, abs=5e-4)
    assert delayed.max() == pytest.approx(y.max(), abs=1e-3)
    assert abs(delayed.argmax() - y.argmax()) <= 1


@pytest.mark.slow
@pytest.mark.essential
def test_the_peaks_of_the_models_without_delay():
    """Published digits: the tolerance is half a unit of the last one."""
    assert sharpening(solvers.FreeEnergyFlow(ETA)).max() == pytest.approx(7.3814, abs=5e-5)
    assert sharpening(solvers.EdgeFlow(ETA)).max() == pytest.approx(7.3814, abs=5e-5)


@pytest.mark.slow
def test_the_half_step_delay_follows_gradient_descent_on_a_second_landscape():
    """A valley with flattening walls, E = y log cosh x − ε(x + y), whose two-cycles beyond the edge are stable by themselves."""

    def trough(p):
        return p[1] * np.log(np.cosh(p[0])) - 0.01 * (p[0] + p[1])

    def center(flow):
        run = solvers.solve(flow, Landscape(trough), START, 1500)
        assert run.status == "complete"
        return run.centers[:, 1]

    y = center(solvers.GradientDescent(ETA))
    delayed = center(solvers.FreeEnergyFlow(ETA, delay=True))
    assert y.max() > 1.1 * EDGE
    assert np.sqrt(np.mean((delayed - y) ** 2)) <= 0.003
    assert np.sqrt(np.mean((center(solvers.FreeEnergyFlow(ETA)) - y) ** 2)) > 0.03
    assert delayed.max() == pytest.approx(y.max(), abs=1e-3)
    assert abs(delayed.argmax() - y.argmax()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("zeta", [0.2, 0.35, 0.6, 1.0])
def test_the_slow_drift_of_the_oscillation_has_the_sign_of_2_minus_9_zeta_squared(zeta):
    """Successive peaks of y, near the fixed point of the averaged motion. The half-step delay has it, the flow without has
    not."""
    valley, start = Valley(zeta, 0.002), np.array([2 * np.sqrt(2 * 0.002), EDGE])
    for flow in (solvers.GradientDescent(ETA), solvers.FreeEnergyFlow(ETA, delay=True)):
        y = solvers.solve(flow, valley, start, 3000).centers[:, 1]
        peaks = y[argrelmax(y, order=30)[0]]
        assert len(peaks) >= 4
        assert np.all(np.sign(np.diff(peaks)) == np.sign(2 - 9 * zeta**2))


@pytest.mark.slow
def test_without_the_delay_the_drift_is_downward_whatever_zeta():
    """Documented, not wished for: at ζ = 0 the flow conserves what gradient descent lets grow."""
    start = np.array([2 * np.sqrt(2 * 0.002), EDGE])
    y = solvers.solve(solvers.FreeEnergyFlow(ETA), Valley(0.2, 0.002), start, 3000).centers[:, 1]
    assert np.all(np.diff(y[argrelmax(y, order=30)[0]]) < 0)


DECAY_THEN_ONSET = [  # ζ, ε, η, start, steps: the oscillation decays to the rounding of x before y reaches 2/η
    (0.7, 0.005, 0.25, (0.0, 7.0), 2500),
    (1.0, 0.003, 0.3, (0.0, 5.5), 4000),
    (0.35, 0.01, 0.3, (0.0, 5.0), 1500),
]


def peak_without_rounding(zeta, epsilon, eta, start, steps):
    """Where y of gradient descent's center peaks in 400 digits: |u| decays to 1e-80 at most here."""
    with mp.workdps(400):
        zeta, epsilon, eta, x, y = map(mpf, (zeta, epsilon, eta, *start))
        ys = [y]
        for _ in range(steps + 1):
            x, y = (
                x - eta * (x * y + 3 * zeta * x * x / 2 - epsilon),
                y - eta * (x * x / 2 - epsilon),
            )
            ys.append(y)
        return max(range(steps + 1), key=lambda k: ys[k] + ys[k + 1])


@pytest.mark.slow
@pytest.mark.parametrize(("zeta", "epsilon", "eta", "start", "steps"), DECAY_THEN_ONSET)
def test_without_a_floor_the_onset_is_that_of_gradient_descent_without_rounding(
    zeta, epsilon, eta, start, steps
):
    """|u| falls to 1e-40 and below and grows from there: whatever is lost on the way moves the onset. The delay's rate of growth
    is that of gradient descent to second order, exact growth's to all."""
    expected = peak_without_rounding(zeta, epsilon, eta, start, steps)
    for flow in (
        solvers.FreeEnergyFlow(eta, delay=True, fluctuation_floor=0.0),
        solvers.FreeEnergyFlow(eta, growth="exact", fluctuation_floor=0.0),
    ):
        run = solvers.solve(flow, Valley(zeta, epsilon), np.array(start), steps)
        assert abs(run.centers[:, 1].argmax() - expected) <= 5


@pytest.mark.slow
@pytest.mark.parametrize(("zeta", "epsilon", "eta", "start", "steps"), DECAY_THEN_ONSET)
def test_the_rounding_noise_brings_the_onset_where_gradient_descent_has_it(
    zeta, epsilon, eta, start, steps
):
    """Over fifteen seeds, against gradient descent from starts 1e-13 apart: onsets are spread over some ten steps in both,
    and those without noise come hundreds of steps late. (Of starts one rounding apart there are only half a dozen.) The medians
    are known to one and two steps."""
    valley, rng = Valley(zeta, epsilon), np.random.default_rng(0)

    def peak(flow, start):
        return solvers.solve(flow, valley, start, steps).centers[:, 1].argmax()

    starts = np.array(start) * (1 + 1e-13 * rng.standard_normal((60, 2)))
    descents = [peak(solvers.GradientDescent(eta), x0) for x0 in starts]
    flows = [
        peak(solvers.FreeEnergyFlow(eta, delay=True, seed=seed), np.array(start))
        for seed in range(15)
    ]
    assert abs(np.median(flows) - np.median(descents)) <= 5
    assert min(flows) >= min(descents) - 5
    assert max(flows) <= max(descents) + 5
