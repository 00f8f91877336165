"""The split of an optimizer in continuous time: the optimizer itself at dt = 1, published and independent values, small u."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import meanfield
import solvers
from solvers.flows.optimizer_flow import OptimizerFlow
from tests.helpers.landscapes import Quadratic, Valley

VALLEY = Valley(1.0, 0.01)
RULES = [
    solvers.HeavyBall(0.3, 0.3),
    solvers.Nesterov(0.3, 0.3),
    solvers.ScalarRMSProp(0.05, second_moment=0.04),
    solvers.RMSProp(0.005, eps=0.1, second_moment=1e-2),
    solvers.RMSProp(0.005, eps=0.1, bias_correction=True),
    solvers.Adam(0.01),
]
# y at the start, where the sharpness is y + 3ζx: about half below the edge
STARTS = {"heavy_ball": 8.5, "nesterov": 5.2, "rmsprop": 4.0}


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_unit_steps_with_delay_are_the_optimizer(rule):
    x0 = np.array([0.02, STARTS.get(rule.name, 6.0)])
    exact = solvers.solve(rule, VALLEY, x0, steps=1000)
    model = solvers.FreeEnergyFlow(rule, delay=True, fluctuation_floor=0)
    same = solvers.solve(model, VALLEY, x0, steps=1000, dt=1.0)
    np.testing.assert_allclose(same.centers, exact.centers, rtol=0, atol=1e-10)
    np.testing.assert_allclose(same.fluctuations, exact.fluctuations, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        solvers.HeavyBall(0.25, 0.5),
        solvers.Nesterov(0.15, 0.5),
        solvers.ScalarRMSProp(0.005, second_moment=1e-2),
        solvers.RMSProp(0.005, eps=1e-2, second_moment=1e-4),
        solvers.Adam(0.003, eps=1e-3),
    ],
    ids=repr,
)
def test_unit_steps_with_delay_are_the_optimizer_on_digits(rule):
    """At rates where two runs of the rule one rounding apart stay together; far beyond its edge they part within 50 steps."""
    task = meanfield.tasks.digits(100)
    network = meanfield.TwoLayerNetwork(64)
    risk, x0 = meanfield.Risk(network, task), network.initialize(50, seed=0)
    exact = solvers.solve(rule, risk, x0, steps=1000, save_every=10)
    model = solvers.FreeEnergyFlow(rule, delay=True, fluctuation_floor=0)
    same = solvers.solve(model, risk, x0, steps=1000, save_every=10, dt=1.0)
    np.testing.assert_allclose(same.centers, exact.centers, rtol=0, atol=1e-10)
    np.testing.assert_allclose(same.fluctuations, exact.fluctuations, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.essential
def test_heavy_ball_in_the_valley():
    """The peak of the center: the rule's own, the ordinary differential equation's, and with the half-step delay."""
    rule, x0 = solvers.HeavyBall(0.3, 0.3), np.array([0.0, 8.5])
    exact = solvers.solve(rule, VALLEY, x0, steps=1500).centers[:, 1]
    assert exact.argmax() == 121 and exact.max() == pytest.approx(9.0021, abs=5e-5)
    plain = solvers.solve(solvers.FreeEnergyFlow(rule), VALLEY, x0, steps=1500).centers[:, 1]
    assert plain.argmax() == 118 and plain.max() == pytest.approx(8.9882, abs=5e-5)
    delayed = solvers.FreeEnergyFlow(rule, delay=True)
    delayed = solvers.solve(delayed, VALLEY, x0, steps=1500).centers[:, 1]
    assert delayed.argmax() == 121 and delayed.max() == pytest.approx(9.0020, abs=5e-5)
    assert np.sqrt(np.mean((plain - exact) ** 2)) == pytest.approx(0.120, abs=5e-4)
    assert np.sqrt(np.mean((delayed - exact) ** 2)) == pytest.approx(0.0018, abs=5e-5)


@pytest.mark.slow
def test_much_momentum_in_the_valley_is_chaotic():
    """Two runs one rounding apart, from the floor, a sixth of a unit below the edge."""
    for momentum, early, late in ((0.3, 1e-12, (0, 1e-12)), (0.5, 1e-9, (1, np.inf))):
        rule = solvers.HeavyBall(0.3, momentum)
        x0 = np.array([0.0, rule.edge / 0.3 - 0.17])
        one, other = (
            solvers.solve(rule, VALLEY, start, steps=6000).centers
            for start in (x0, x0 * (1 + 2.0**-52))
        )
        apart = np.max(np.abs(one - other), axis=1)
        assert apart[:500].max() < early and late[0] <= apart.max() <= late[1]
        assert one[:300, 1].argmax() > 100  # the first spike is among the 500


@pytest.mark.slow
def test_far_below_the_edge_the_delay_needs_the_floor():
    """One unit of sharpness below: |u| > 0.05 from step 459 on; the delay with the rule's rounding, 458; without, 567."""
    rule = solvers.HeavyBall(0.3, 0.3)
    x0 = np.array([0.0, rule.edge / 0.3 - 1.0])

    def decay_and_onset(flow):
        u = np.abs(solvers.solve(flow, VALLEY, x0, steps=600).fluctuations[60:, 0])
        return u.min(), 60 + np.argmax(u > 0.05)

    seed, onset = decay_and_onset(rule)
    floored, near = decay_and_onset(solvers.FreeEnergyFlow(rule, delay=True))
    lost, late = decay_and_onset(solvers.FreeEnergyFlow(rule, delay=True, fluctuation_floor=0))
    assert onset == 459 and abs(near - onset) <= 10 and 100 <= late - onset <= 120
    assert lost < 1e-30 < floored < seed


def test_without_momentum_it_is_the_free_energy_flow():
    x0 = np.array([0.3, 6.2])
    rule = solvers.HeavyBall(0.3, momentum=0.0)
    general = solvers.solve(solvers.FreeEnergyFlow(rule), VALLEY, x0, steps=40, dt=0.25)
    own = solvers.solve(solvers.FreeEnergyFlow(0.3), VALLEY, x0, steps=40, dt=0.25)
    np.testing.assert_allclose(general.centers, own.centers, rtol=0, atol=1e-12)
    np.testing.assert_allclose(general.fluctuations, own.fluctuations, rtol=0, atol=1e-12)


def test_the_equations_by_scipy():
    """Adam's split written out for one coordinate, without bias correction."""
    rule = solvers.Adam(0.05, 0.5, 0.9, eps=1e-2, bias_correction=False)
    curvature = 3.0

    def change(z):
        x, m, nu = z
        g = curvature * x
        mean, squares = 0.5 * m + 0.5 * g, 0.9 * nu + 0.1 * g * g
        return np.array([-0.05 * mean / (np.sqrt(squares) + 1e-2), mean - m, squares - nu])

    def velocity(t, state):
        c, u = state[:3], state[3:]
        plus, minus = change(c + u), change(c - u)
        return np.concatenate([0.5 * (plus + minus), -2 * u - 0.5 * (plus - minus)])

    first = change(np.array([1.0, 0.0, 0.0]))
    start = np.concatenate([np.array([1.0, 0.0, 0.0]) + 0.5 * first, -0.5 * first])
    expected = solve_ivp(velocity, (0, 8), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    solution = solvers.solve(
        solvers.FreeEnergyFlow(rule, fluctuation_floor=0), Quadratic(np.diag([curvature])),
        np.array([1.0]), steps=8, dt=1 / 64,
    )  # fmt: skip
    # the error of RK4 at this step, by halving it, is below 1e-9
    np.testing.assert_allclose(solution.state.values.ravel(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [1e-9, 1e-15, 1e-60, 1e-200])
def test_a_small_fluctuation_turns_by_the_hessian(size):
    """u̇ = −2u − V'(c) u, with the derivative of heavy ball's V written out, however small u is."""
    rate, beta = 0.3, 0.4
    flow = OptimizerFlow(solvers.HeavyBall(rate, beta))
    c = np.array([[0.2, 6.5], [0.1, -0.3]])
    u = size * np.array([[1.0, -0.5], [0.7, 0.2]])
    velocity = flow.velocity(VALLEY, 0.0, np.stack([c, u]))[1]
    kick = beta * u[1] + VALLEY.hvp(c[0], u[0])
    expected = -2 * u - np.array([-rate * kick, kick - u[1]])
    # ε^(2/3) times the third over the first derivative
    np.testing.assert_allclose(velocity / size, expected / size, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("steps", [5, 6])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_it_goes_on_with_the_memory_of_the_optimizer(rule, steps):
    """After a warm start of an odd or even number of steps, dt = 1 with the delay is still the optimizer."""
    x0 = np.array([0.02, STARTS.get(rule.name, 6.0)])
    warm = solvers.solve(rule, VALLEY, x0, steps).state
    exact = solvers.solve(rule, VALLEY, warm, steps=60)
    model = solvers.FreeEnergyFlow(rule, delay=True, fluctuation_floor=0)
    same = solvers.solve(model, VALLEY, warm, steps=60, dt=1.0)
    assert same.times[0] == steps
    np.testing.assert_allclose(same.centers, exact.centers, rtol=0, atol=1e-10)
    np.testing.assert_allclose(same.fluctuations, exact.fluctuations, rtol=0, atol=1e-10)


def test_another_rule_s_memory_is_not_taken():
    warm = solvers.solve(solvers.Nesterov(0.3, 0.3), VALLEY, np.array([0.02, 5.2]), steps=4)
    model = solvers.FreeEnergyFlow(solvers.HeavyBall(0.3, 0.3))
    begun = solvers.solve(model, VALLEY, warm.state, steps=0)
    anew = solvers.solve(model, VALLEY, warm.iterates[-1], steps=0)
    np.testing.assert_array_equal(begun.centers[0], anew.centers[0])


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_rate_that_changes(rule):
    pairs = [[0, rule.learning_rate], [7, 0.5 * rule.learning_rate], [12, rule.learning_rate]]
    x0 = np.array([0.02, STARTS.get(rule.name, 6.0)])
    exact = solvers.solve(solvers.Scheduled(rule, pairs), VALLEY, x0, steps=100)
    model = solvers.FreeEnergyFlow(rule, delay=True, fluctuation_floor=0)
    same = solvers.solve(solvers.Scheduled(model, pairs), VALLEY, x0, steps=100, dt=1.0)
    np.testing.assert_allclose(same.centers, exact.centers, rtol=0, atol=1e-10)
    np.testing.assert_allclose(same.fluctuations, exact.fluctuations, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [solvers.RMSProp, solvers.ScalarRMSProp, solvers.Adam])
def test_where_a_model_s_mean_of_squares_is_below_zero_it_counts_as_zero(kind):
    """Extrapolated back, as the delay's history is, ν of a gradient that grows is negative; the step is still one of length η."""
    more = {"beta1": 0.0} if kind is solvers.Adam else {}
    rule = kind(0.1, beta2=0.99, eps=0.0, bias_correction=False, **more)
    bowl, x = Quadratic(np.diag([3.0])), np.array([2.0])
    rows = [np.zeros(1)] * (rule.memories - 1)
    for nu in (-1.0, -1e-9, 0.0):
        changed = rule.change(bowl, 0, np.stack([x, *rows, np.array([nu])]))
        # ν becomes (1 − β₂) g², and the step is η g/√ν = η/√(1 − β₂)
        assert changed[0] == pytest.approx(-0.1 / 0.1)
        assert changed[-1] == pytest.approx(0.01 * 36 - nu)


def test_what_is_no_optimizer_is_refused():
    with pytest.raises(ValueError, match="optimizer must be a Optimizer|optimizer must be an"):
        OptimizerFlow(0.1)
    with pytest.raises(ValueError, match="fluctuation_floor must be 'rounding' or 0"):
        solvers.FreeEnergyFlow(solvers.HeavyBall(0.1), fluctuation_floor=0.5)
    with pytest.raises(TypeError, match="closure"):
        solvers.FreeEnergyFlow(solvers.HeavyBall(0.1), closure="taylor")


def test_a_run_of_own_models_is_compared(tmp_path):
    config = meanfield.RunConfig(
        steps=6, learning_rate=0.5, task={"n": 12}, network={"width": 8},
        processes={"gradient_descent": {}, "heavy_ball": {"momentum": 0.5}},
    )  # fmt: skip
    model = solvers.FreeEnergyFlow(solvers.HeavyBall(0.5, 0.5), delay=True)
    result = meanfield.run(config, tmp_path / "run", flows={"model": model})
    centers = {name: result[name].snapshots[-1].position for name in ("heavy_ball", "model")}
    # the delay's error of order two per iteration, over six
    assert np.abs(centers["model"] - centers["heavy_ball"]).max() < 0.05
    assert np.isfinite(result["model"].observables["effective_sharpness"]).any()
