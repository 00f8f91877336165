"""The rod flow with momentum: full matrices by SciPy, the rule itself, its edge; and what models of which rule there are."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import solvers
from solvers.flows import FLOWS
from solvers.flows.optimizer_rod_flow import OptimizerRodFlow
from tests.helpers.landscapes import Quadratic, Valley

VALLEY = Valley(1.0, 0.01)
RULES = [solvers.HeavyBall(0.3, 0.3), solvers.Nesterov(0.3, 0.3)]


def maps(rule):
    """V and DV·v of the rule on (x, y) with y = ηm, written out."""
    eta, beta = rule.learning_rate, rule.momentum
    nesterov = isinstance(rule, solvers.Nesterov)

    def linear(z, g):
        following = beta * z[2:] + eta * g
        moved = eta * g + beta * following if nesterov else following
        return np.concatenate([-moved, following - z[2:]])

    return (
        lambda z: linear(z, VALLEY.gradient(z[:2])),
        lambda z, v: linear(v, VALLEY.hvp(z[:2], v[:2])),
    )


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_full_matrices_by_scipy(rule):
    change, derivative = maps(rule)

    def parts(state):
        c, sigma = state[:4], state[4:].reshape(4, 4)
        values, vectors = np.linalg.eigh(sigma)
        return c, sigma, np.sqrt(values[-1]) * vectors[:, -1]

    def velocity(t, state):
        c, sigma, u = parts(state)
        plus, minus = change(c + u), change(c - u)
        mean = 0.5 * (plus + minus)
        bend = 0.5 * (derivative(c + u, mean) + derivative(c - u, mean))
        feed = 0.25 * (np.outer(plus, plus) + np.outer(minus, minus))
        return np.concatenate([mean - 0.5 * bend, (feed - 2 * sigma).ravel()])

    z = np.array([0.3, rule.edge / 0.3 - 0.3, 0.0, 0.0])
    half = 0.5 * change(z)
    start = np.concatenate([z + half, np.outer(half, half).ravel()])
    end = solve_ivp(velocity, (0, 12), start, rtol=1e-11, atol=1e-13).y[:, -1]
    c, sigma, _ = parts(end)
    errors = []
    for dt in (1 / 16, 1 / 32):
        solution = solvers.solve(solvers.RodFlow(rule), VALLEY, z[:2], steps=12, dt=dt)
        state = solution.state.values
        np.testing.assert_array_equal(solution.centers[-1], state[0, 0])
        found = np.concatenate([state[0].ravel(), [solution.fluctuation_trace[-1]]])
        errors.append(np.abs(found - [*c, np.trace(sigma[:2, :2])]).max())
    assert errors[1] < 2e-4
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.4)  # of order two


def quadratic(rule, curvature):
    """V on (x, ηm), a matrix, on E = ½ curvature x²; heavy ball moves by −y, Nesterov's rule by −(ηg + βy)."""
    push, beta = rule.learning_rate * curvature, rule.momentum
    memory = np.array([push, beta])
    moved = memory if isinstance(rule, solvers.HeavyBall) else np.array([push, 0]) + beta * memory
    return np.array([-moved, memory - [0, 1]])


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_at_the_edge_of_a_quadratic_it_keeps_its_length_and_above_it_grows(rule):
    """Started on the eigenvector −1 of the rule, from a state of it; e^{(a²/2 − 2)t}, a = μ − 1, is tr Σ beyond the edge."""
    for ratio in (1.0, 1.05):
        curvature = ratio * rule.edge / 0.3
        bowl = Quadratic(np.diag([curvature]))
        state = solvers.solve(
            rule, bowl, np.array([1e-3]), steps=60
        ).state  # the other mode is gone
        solution = solvers.solve(solvers.RodFlow(rule), bowl, state, steps=6, dt=1 / 64)
        change = quadratic(rule, curvature)
        a = np.linalg.eigvals(change).real.min()
        traces = solution.fluctuation_trace[2:]  # once the center has come to rest
        expected = np.exp((0.5 * a * a - 2) * np.arange(5))
        np.testing.assert_allclose(traces / traces[0], expected, rtol=2e-3)
        # the center at an eigenvalue −2 of V goes as e^{−4t}, by ċ = Vc − ½V²c
        assert abs(solution.centers[-1, 0]) < 1e-6


@pytest.mark.parametrize("ratio", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_its_steps_are_stable_far_beyond_the_edge(rule, ratio):
    """ċ = (A − ½A²)c on a bowl: a mode beyond the edge, a billionth of the one that moves, decays. Σ is along the latter."""
    curvatures = np.array([ratio * rule.edge / 0.3, 0.1])
    x0, steps = np.array([1e-9, 1.0]), 30
    solution = solvers.solve(solvers.RodFlow(rule), Quadratic(np.diag(curvatures)), x0, steps)
    assert np.abs(solution.centers[5:, 0]).max() < 1e-9
    a = quadratic(rule, curvatures[1])
    start = np.array([1.0, 0.0]) + 0.5 * a @ [1.0, 0.0]
    exact = expm(steps * (a - 0.5 * a @ a)) @ start
    assert solution.centers[-1, 1] == pytest.approx(exact[0], rel=1e-3)


@pytest.mark.slow
def test_it_follows_the_heavy_ball_in_the_valley():
    """The first spike from (0.02, 8.6): its peak and step, and an error below that of the equation without bending."""
    rule, x0 = RULES[0], np.array([0.02, 8.6])
    exact = solvers.solve(rule, VALLEY, x0, steps=600).centers[:, 1]
    rod = solvers.solve(solvers.RodFlow(rule), VALLEY, x0, steps=600).centers[:, 1]
    plain = solvers.solve(solvers.FreeEnergyFlow(rule), VALLEY, x0, steps=600).centers[:, 1]
    assert rod.argmax() == exact.argmax() == 62
    assert rod.max() == pytest.approx(exact.max(), abs=2e-3)
    errors = [np.sqrt(np.mean((one - exact) ** 2)) for one in (rod, plain)]
    # the limit dt → 0, also of an exponential midpoint rule: 0.0319, 0.0425, 0.0456 with dt = 1/4, 1/8, 1/16
    assert errors[0] == pytest.approx(0.0467, abs=1e-3)
    assert errors[1] == pytest.approx(0.050, abs=1e-3)


def test_where_the_rate_changes_the_momentum_is_kept():
    flow = solvers.RodFlow(RULES[0])
    state = solvers.solve(flow, VALLEY, np.array([0.3, 8.4]), steps=5).state.values
    moved = flow.with_rate(0.6).carried(VALLEY, 5, state, 2.0)
    np.testing.assert_array_equal(moved[0], [state[0, 0], 2 * state[0, 1]])  # ηm of the same m
    np.testing.assert_array_equal(moved[1:], 2 * state[1:])
    changing = solvers.Scheduled(flow, [[0, 0.3], [4, 0.25]])
    assert solvers.solve(changing, VALLEY, np.array([0.3, 8.4]), steps=9).status == "complete"


@pytest.mark.parametrize("steps", [4, 5])
def test_it_goes_on_with_the_momentum_of_the_rule(steps):
    rule = RULES[0]
    warm = solvers.solve(rule, VALLEY, np.array([0.3, 8.4]), steps=steps)
    begun = solvers.solve(solvers.RodFlow(rule), VALLEY, warm.state, steps=0)
    np.testing.assert_allclose(begun.centers[0], warm.centers[-1], rtol=1e-14)
    np.testing.assert_allclose(begun.fluctuations[0], warm.fluctuations[-1], rtol=0, atol=1e-15)
    momenta = warm.state.values[:, 1].mean(axis=0)
    np.testing.assert_allclose(begun.state.values[0, 1], 0.3 * momenta, rtol=1e-13)


def test_a_run_that_is_cut_goes_on_bit_for_bit():
    flow = solvers.RodFlow(RULES[1])
    x0 = np.array([0.3, 5.2])
    whole = solvers.solve(flow, VALLEY, x0, steps=12)
    half = solvers.solve(flow, VALLEY, x0, steps=5)
    rest = solvers.solve(flow, VALLEY, half.state, steps=7)
    assert np.array_equal(rest.state.values, whole.state.values)


OPTIMIZERS = [
    solvers.HeavyBall(0.01, 0.3),
    solvers.Nesterov(0.01, 0.3),
    solvers.ScalarRMSProp(0.01),
    solvers.RMSProp(0.01),
    solvers.Adam(0.01, 0.5),
]
MODELS = {
    "free_energy_flow": {rule.name for rule in OPTIMIZERS},
    "central_flow": {rule.name for rule in OPTIMIZERS},
    "rod_flow": {rule.name for rule in OPTIMIZERS},
}
NEEDED = {"langevin": {"temperature": 0.1}}


@pytest.mark.parametrize("rule", OPTIMIZERS, ids=lambda rule: rule.name)
@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_models_an_optimizer_or_refuses_it(name, rule):
    kind = FLOWS[name]
    make = getattr(kind, "from_objective", None)
    arguments = (VALLEY, np.array([0.1, 6.0]), rule) if make else (rule,)
    make = make or kind
    if rule.name in MODELS.get(name, ()):
        flow = make(*arguments)
        solution = solvers.solve(flow, VALLEY, np.array([0.1, 4.0]), steps=3)
        assert solution.status == "complete" and flow.edge == rule.edge
        assert np.isfinite(solution.centers).all() and np.ptp(solution.centers[:, 1]) > 0
    else:
        with pytest.raises(ValueError, match="learning_rate must be a number") as caught:
            make(*arguments, **NEEDED.get(name, {}))
        assert "got " + type(rule).__name__ in str(caught.value)


def test_what_it_cannot_model_is_refused():
    with pytest.raises(ValueError, match="optimizer must be a HeavyBall or Nesterov, got Adam"):
        OptimizerRodFlow(solvers.Adam(0.1))
    with pytest.raises(ValueError, match="rank must be"):
        solvers.RodFlow(RULES[0], rank=0)
