"""The central flow with momentum: its fixed point to sixty digits, its limit, the rule's own averages, an independent flow."""

import numpy as np
import pytest

import solvers
from tests.helpers.landscapes import Quadratic, Valley

VALLEY = Valley(1.0, 0.01)


@pytest.mark.slow
@pytest.mark.essential
def test_at_rest_in_the_valley():
    """The two-cycle of the heavy ball at η = 0.3, β = 0.2, with sixty digits: center (−0.0024969, 8.0074899), u² = 0.0199938.

    The flow's closure is of second order in u: it drops terms of relative size u²S‴/S = 0, and of order x ε.
    """
    flow = solvers.CentralFlow(solvers.HeavyBall(0.3, momentum=0.2))
    start = np.array([-0.0025, 8.01])
    solution = solvers.solve(flow, VALLEY, start, steps=800, save_every=800, dt=0.5)
    np.testing.assert_allclose(solution.centers[-1], [-0.0024969, 8.0074899], rtol=0, atol=5e-6)
    assert solution.fluctuation_trace[-1] == pytest.approx(0.0199938, rel=5e-4)


@pytest.mark.parametrize("kind", [solvers.HeavyBall, solvers.Nesterov])
def test_without_momentum_it_is_gradient_descents(kind):
    x0 = np.array([0.01, 6.6])
    plain = solvers.solve(solvers.CentralFlow(0.3), VALLEY, x0, steps=40)
    momentum = solvers.solve(solvers.CentralFlow(kind(0.3, 0.0)), VALLEY, x0, steps=40)
    np.testing.assert_allclose(momentum.centers, plain.centers, rtol=0, atol=1e-12)
    np.testing.assert_allclose(momentum.fluctuations, plain.fluctuations, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [solvers.HeavyBall, solvers.Nesterov])
def test_it_rides_at_the_rule_s_edge(kind):
    rule = kind(0.3, 0.3)
    flow = solvers.CentralFlow(rule)
    solution = solvers.solve(flow, VALLEY, np.array([0.01, rule.edge / 0.3]), steps=30)
    found = solvers.effective_sharpness(flow, VALLEY, solution.state)
    assert found == pytest.approx(1.0, abs=1e-4)


def test_below_the_edge_it_is_the_flow_of_momentum():
    """On a bowl of curvature s, x(t) = x(0) e^{−ηst/(1 − β)}; of second order in dt."""
    flow = solvers.CentralFlow(solvers.HeavyBall(0.01, 0.5))
    bowl = Quadratic(np.diag([1.0]))
    errors = []
    for dt in (1.0, 0.5):
        solution = solvers.solve(flow, bowl, np.array([1.0]), steps=50, dt=dt)
        exact = solution.centers[0] * np.exp(-0.02 * 50)
        errors.append(abs(solution.centers[-1] - exact)[0])
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.1)


def test_much_momentum_is_stepped_stably():
    """At β = 0.9 the center relaxes nineteen times as fast as that of gradient descent."""
    rule = solvers.HeavyBall(0.05, momentum=0.9)
    flow = solvers.CentralFlow(rule)
    assert flow.default_dt == 1 / 19
    solution = solvers.solve(flow, VALLEY, np.array([0.0, rule.edge / 0.05]), steps=8)
    assert solution.status == "complete"
    assert solvers.effective_sharpness(flow, VALLEY, solution.state) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_the_average_of_the_heavy_ball_in_the_valley():
    """Where the rule has come to rest, the flow has: the swings of ζ = 1 die out."""
    rule = solvers.HeavyBall(0.3, momentum=0.2)
    x0 = np.array([0.02, 7.96])
    ball = solvers.solve(rule, VALLEY, x0, steps=20_000, save_every=20_000).centers[-1]
    flow = solvers.solve(solvers.CentralFlow(rule), VALLEY, x0, steps=2000, save_every=2000)
    np.testing.assert_allclose(flow.centers[-1], ball, rtol=0, atol=5e-6)


def test_where_the_rate_changes_it_goes_to_the_new_edge():
    rule = solvers.HeavyBall(0.3, 0.3)
    flow = solvers.Scheduled(solvers.CentralFlow(rule), [[0, 0.3], [10, 0.31]])
    solution = solvers.solve(flow, VALLEY, np.array([0.01, rule.edge / 0.3]), steps=25)
    for step, rate in ((9, 0.3), (25, 0.31)):
        x, y = solution.centers[step]
        columns = [VALLEY.hvp(np.array([x, y]), e) for e in np.eye(2)]
        sharpness = np.linalg.eigvalsh(np.array(columns))
        assert rate * sharpness[-1] == pytest.approx(rule.edge, rel=1e-3)


def test_a_warm_start_begins_at_the_rule_s_center():
    rule = solvers.HeavyBall(0.3, 0.3)
    warm = solvers.solve(rule, VALLEY, np.array([0.01, 8.6]), steps=5)
    begun = solvers.solve(solvers.CentralFlow(rule), VALLEY, warm.state, steps=0)
    np.testing.assert_array_equal(begun.centers[0], warm.centers[-1])


def test_other_rules_are_refused():
    from solvers.flows.momentum_central_flow import MomentumCentralFlow

    with pytest.raises(ValueError, match="optimizer must be a HeavyBall or Nesterov"):
        MomentumCentralFlow(solvers.Adam(0.1))
