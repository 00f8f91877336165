"""Particles, minimising movements and the PDE against gradient descent of finite width, from one start."""

import numpy as np
import pytest
from scipy.stats import norm

import solvers
from tests.helpers.line_network import sine_risk

WIDTH, TIME = 400, 8.0  # neurons; ηk
RATES = (2.0, 1.0, 0.5)


@pytest.fixture(scope="module")
def risk():
    return sine_risk(40)


@pytest.fixture(scope="module")
def x0():
    return norm.ppf((np.arange(WIDTH) + 0.5) / WIDTH)[:, None]


def solve(flow, risk, x0):
    steps = round(TIME / flow.learning_rate)
    run = solvers.solve(flow, risk, x0, steps, save_every=steps)
    assert run.status == "complete"
    return run


def w2(x, y):
    return solvers.transport.w2(x, y).distance


@pytest.fixture(scope="module")
def descents(risk, x0):
    return {eta: solve(solvers.GradientDescent(eta), risk, x0).centers[-1] for eta in RATES}


@pytest.mark.parametrize(
    "flow",
    [
        solvers.FreeEnergyFlow,
        pytest.param(
            lambda eta: solvers.JKOFlow(eta, saddle=True),
            marks=pytest.mark.slow,
            id="JKOFlow",
        ),
    ],
)
def test_the_distance_to_gradient_descent_is_of_first_order_in_eta(risk, x0, descents, flow):
    """The models differ from gradient descent, of whatever width, by terms of order η; one implicit step per iteration, too."""
    distances = [w2(solve(flow(eta), risk, x0).centers[-1], descents[eta]) for eta in RATES]
    assert np.polyfit(np.log(RATES), np.log(distances), 1)[0] == pytest.approx(1.0, abs=0.2)


def test_the_grid_is_as_close_as_its_cells_are_wide(risk, x0):
    """A law on a curve, as a start from particles is, is resolved to first order."""
    particles = solve(solvers.FreeEnergyFlow(1.0), risk, x0).centers[-1]
    errors = []
    for cells in (48, 96):
        flow = solvers.PhaseSpaceFlow(1.0, cells=(cells, cells))
        density = flow.density(solve(flow, risk, x0).state.values)
        errors.append(w2(density.theta_marginal(), solvers.Particles(particles)))
        assert errors[-1] < density.grid.spacings[0]
    assert errors[1] < 0.75 * errors[0]
