"""The central flow of scalar RMSProp: an independent integration, the rule itself, two modes, the limit of gradient descent."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import solvers
from tests.convergence.references import dop853
from tests.helpers.landscapes import Quadratic, Valley

VALLEY, X0 = Valley(0.0, 0.01), np.array([1e-3, 6.0])
RULE = solvers.ScalarRMSProp(0.05, beta2=0.99, second_moment=0.0225)


def by_projection(start, nu, steps, dt):
    """Explicit Euler with the closed form of σ² for one mode, ν put back to the edge after every step."""
    kappa, eta = (1 - 0.99) / 0.99, 0.05
    z = np.array([*start, nu])
    for _ in range(round(steps / dt)):
        (x, y), g = z[:2], VALLEY.gradient(z[:2])
        (_, s), vectors = np.linalg.eigh([[y, x], [x, 0.0]])
        a, b = vectors[:, 1]
        turn = np.array([2 * a * b, a * a])  # ∇S
        above = -(turn @ g) + kappa * (s**2 / 4 - g @ g / eta**2)
        variance = max(0.0, above / (0.5 * turn @ turn + kappa * s**2 / eta**2))
        if eta * s / math.sqrt(z[2]) < 2 - 1e-9:
            variance = 0.0
        rate = eta / math.sqrt(z[2])
        z[:2] += -dt * rate * (g + 0.5 * variance * turn)
        z[2] += dt * kappa * (g @ g + variance * s**2 - z[2])
        s = np.linalg.eigvalsh([[z[1], z[0]], [z[0], 0.0]])[1]
        z[2] = max(z[2], (eta * s / 2) ** 2)
    return z


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize("max_modes", [1, 8])
def test_it_is_the_projected_flow(max_modes):
    """The reference is of first order; from below the edge, to which the projection would put ν at once."""
    flow = solvers.CentralFlow(RULE, max_modes)
    x0 = np.array([1e-3, 5.9])
    first = flow.start(VALLEY, x0)
    reference = by_projection(first[0], first[-2, 0], 100, 1 / 16)
    solution = solvers.solve(flow, VALLEY, x0, steps=100, dt=1 / 16, save_every=100)
    np.testing.assert_allclose(solution.centers[-1], reference[:2], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_it_follows_the_rule_in_the_valley():
    """Means over ±400 steps of y and σ²: those of scalar RMSProp, and the flow's."""
    rule = solvers.solve(RULE, VALLEY, X0, steps=7900)
    flow = solvers.solve(solvers.CentralFlow(RULE), VALLEY, X0, steps=7900)
    for k, of_rule, of_flow, variance in [
        (1000, 8.633, 8.624, 6.56e-4),
        (4000, 13.814, 13.809, 6.37e-4),
        (7500, 18.067, 18.064, 6.32e-4),
    ]:
        near = slice(k - 400, k + 401)
        assert rule.centers[near, 1].mean() == pytest.approx(of_rule, abs=1e-3)
        assert flow.centers[near, 1].mean() == pytest.approx(of_flow, abs=4e-3)
        assert flow.fluctuation_trace[near].mean() == pytest.approx(variance, rel=0.01)
        assert rule.fluctuation_trace[near].mean() == pytest.approx(variance, rel=0.01)
    state = flow.state
    assert solvers.effective_sharpness(state.flow, VALLEY, state) == pytest.approx(1.0, abs=5e-3)


def test_with_a_mean_at_rest_it_is_gradient_descents():
    """κ → 0: ν stays at ν_0, and the learning rate is η/√ν_0."""
    eta, nu = 0.06, 0.04
    rule = solvers.ScalarRMSProp(eta, beta2=1 - 2.0**-53, second_moment=nu)
    x0 = np.array([0.01, 6.6])
    valley = Valley(1.0, 0.01)
    adaptive = solvers.solve(solvers.CentralFlow(rule), valley, x0, steps=60)
    plain = solvers.solve(solvers.CentralFlow(eta / math.sqrt(nu)), valley, x0, steps=60)
    np.testing.assert_allclose(adaptive.centers, plain.centers, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        adaptive.fluctuation_trace, plain.fluctuation_trace, rtol=0, atol=1e-6
    )


def test_it_is_of_order_two():
    """On the moving edge, with one mode, the flow is an ordinary differential equation of (w, ν): σ² in closed form."""
    eta, kappa, steps, dts = 0.05, (1 - 0.9) / 0.9, 8, [1, 1 / 2, 1 / 4, 1 / 8]

    def velocity(z):
        w, nu, g = z[:2], z[2], valley.gradient(z[:2])
        values, vectors = np.linalg.eigh(np.array([valley.hvp(w, e) for e in np.eye(2)]))
        s, turn = values[-1], valley.third(w, vectors[:, -1])
        above = kappa * (s**2 / 4 - g @ g / eta**2) - turn @ g
        variance = above / (0.5 * turn @ turn + kappa * s**2 / eta**2)
        assert variance > 0
        w_dot = -eta / math.sqrt(nu) * (g + 0.5 * variance * turn)
        return np.array([*w_dot, kappa * (g @ g + variance * s**2 - nu)])

    valley, w = Valley(1.0, 0.01), np.array([-0.01, 6.0])
    sharpness = np.linalg.eigvalsh(np.array([valley.hvp(w, e) for e in np.eye(2)]))[-1]
    nu = (eta * sharpness / 2) ** 2
    exact = dop853(velocity, np.array([*w, nu]), steps)
    flow = solvers.CentralFlow(solvers.ScalarRMSProp(eta, beta2=0.9, second_moment=nu), 1)
    state = flow.start(valley, w)
    state[0], state[-3:-1] = w, np.array([1.0, nu])[:, None]
    errors = []
    for dt in dts:
        start = solvers.State(0, state, np.nan)
        end = solvers.solve(flow, valley, start, steps, dt=dt).state.values
        errors.append([np.abs(end[0] - exact[:2]).max(), np.abs(end[-2] - exact[2]).max()])
    assert errors[0][0] < 2e-5
    for error in np.transpose(errors):
        assert np.polyfit(np.log(dts), np.log(error), 1)[0] == pytest.approx(2.0, abs=0.2)


class TwoValleys:
    """E = Σ_i ½ y_i x_i² − ε_i (x_i + y_i) of (x_1, x_2, y_1, y_2): sharpnesses y_1 and y_2, of which ε_i is the drift."""

    drift = np.array([0.01, 0.0101])

    def value(self, p):
        x, y = p[:2], p[2:]
        return float(np.sum(0.5 * y * x**2 - self.drift * (x + y)))

    def gradient(self, p):
        x, y = p[:2], p[2:]
        return np.concatenate([y * x - self.drift, 0.5 * x**2 - self.drift])

    def hvp(self, p, v):
        x, y = p[:2], p[2:]
        return np.concatenate([y * v[:2] + x * v[2:], x * v[:2]])

    def third(self, p, u):
        return np.concatenate([2 * u[:2] * u[2:], u[:2] ** 2])


def two_by_projection(start, nu, steps, dt):
    """Both eigenvalues held at 2√ν/η by the variances of their modes, from the linear system written out."""
    kappa, eta, valleys = (1 - 0.99) / 0.99, 0.05, TwoValleys()
    w, nu = start.copy(), float(nu)
    for _ in range(round(steps / dt)):
        g = valleys.gradient(w)
        hessian = np.array([valleys.hvp(w, e) for e in np.eye(4)])
        values, vectors = np.linalg.eigh(hessian)
        turns = np.array([valleys.third(w, v) for v in vectors.T[2:]])
        edge = 2 * math.sqrt(nu) / eta
        lag = (edge - values[2:]) * math.sqrt(nu) / (eta * dt)  # undone within the step
        above = -turns @ g - kappa * (g @ g - nu) / eta**2 - lag
        variances = np.linalg.solve(0.5 * turns @ turns.T + kappa * edge**2 / eta**2, above)
        assert np.all(variances > 0)
        w = w - dt * eta / math.sqrt(nu) * (g + 0.5 * variances @ turns)
        nu += dt * kappa * (g @ g + edge**2 * variances.sum() - nu)
    return w, nu, variances


@pytest.mark.slow
@pytest.mark.essential
def test_two_modes_are_held_at_the_moving_edge():
    """Without mixing X is diagonal; the reference is of first order, and its motion slow."""
    flow = solvers.CentralFlow(RULE)
    x0, dt, steps = np.array([1e-3, 1e-3, 6.0, 6.0]), 0.25, 200
    begun = 150  # both at the edge by then
    there = solvers.solve(flow, TwoValleys(), x0, steps=begun, dt=dt).state
    solution = solvers.solve(flow, TwoValleys(), there, steps=steps - begun, dt=dt)
    w, nu, variances = two_by_projection(there.values[0], there.values[-2, 0], steps - begun, dt)
    np.testing.assert_allclose(solution.centers[-1], w, rtol=0, atol=1e-5)
    assert solution.state.values[-2, 0] == pytest.approx(nu, rel=1e-5)
    assert solution.fluctuation_trace[-1] == pytest.approx(variances.sum(), rel=1e-3)
    top = solvers.top_eigenpairs(TwoValleys(), solution.centers[-1], k=2).values
    np.testing.assert_allclose(top, 2 * math.sqrt(nu) / 0.05, rtol=1e-5)


def test_below_the_edge_it_is_the_flow_without_oscillation():
    rule = solvers.ScalarRMSProp(0.01, beta2=0.9, second_moment=0.5)
    bowl = Quadratic(np.diag([2.0, 1.0]))
    solution = solvers.solve(solvers.CentralFlow(rule), bowl, np.ones(2), steps=50)
    assert np.all(solution.fluctuation_trace == 0.0)


def test_other_rules_are_refused():
    class Own(solvers.Optimizer):
        learning_rate = 0.1
        memories = 0

        def change(self, objective, step, z):
            return -0.1 * z

    with pytest.raises(ValueError, match="learning_rate must be a number, or a HeavyBall"):
        solvers.CentralFlow(Own())


def test_a_run_that_is_cut_goes_on_bit_for_bit():
    flow = solvers.CentralFlow(RULE)
    whole = solvers.solve(flow, VALLEY, X0, steps=30)
    half = solvers.solve(flow, VALLEY, X0, steps=11)
    rest = solvers.solve(flow, VALLEY, half.state, steps=19)
    assert np.array_equal(rest.state.values, whole.state.values)


def test_a_mean_that_changes_fast_is_followed_stably():
    """κ = 19, so that ν has relaxed within a step: below the edge by SciPy. β₂ = 0 has no κ."""
    with pytest.raises(ValueError, match="beta2 must be above 0 for a central flow"):
        solvers.CentralFlow(solvers.ScalarRMSProp(0.05, beta2=0.0))
    rule = solvers.ScalarRMSProp(1e-3, beta2=0.05, second_moment=1.0)
    curvature, x0 = np.array([2.0, 1.0]), np.array([0.3, 0.4])

    def velocity(t, z):
        g = curvature * z[:2]
        return [*(-1e-3 * g / math.sqrt(z[2])), 19 * (g @ g - z[2])]

    flow = solvers.CentralFlow(rule)
    first = flow.start(Quadratic(np.diag(curvature)), x0)
    start = [*first[0], first[-2, 0]]
    exact = solve_ivp(velocity, (0, 50), start, method="Radau", rtol=1e-9, atol=1e-12).y[:, -1]
    run = solvers.solve(flow, Quadratic(np.diag(curvature)), x0, steps=50)
    np.testing.assert_allclose(run.centers[-1], exact[:2], rtol=0, atol=2e-4)
    assert run.state.values[-2, 0] == pytest.approx(exact[2], rel=5e-3)


def test_a_warm_start_takes_the_mean_of_squares_over():
    warm = solvers.solve(RULE, VALLEY, X0, steps=7)
    flow = solvers.CentralFlow(RULE)
    begun = solvers.solve(flow, VALLEY, warm.state, steps=0)
    np.testing.assert_array_equal(begun.centers[0], warm.centers[-1])
    nu = warm.state.values[1, 1, 0]  # the one that divides the step
    assert begun.state.values[-2, 0] == nu != 0.0225


def test_where_the_rate_changes_the_mean_of_squares_is_kept():
    flow = solvers.CentralFlow(RULE)
    state = solvers.solve(flow, VALLEY, X0, steps=5).state.values
    carried = flow.with_rate(0.04).carried(VALLEY, 5, state, 0.8)
    np.testing.assert_array_equal(carried[[0, -3, -2]], state[[0, -3, -2]])
    changing = solvers.Scheduled(flow, [[0, 0.05], [5, 0.055]])
    solution = solvers.solve(changing, VALLEY, X0, steps=60)
    found = solvers.effective_sharpness(changing, VALLEY, solution.state)
    assert found == pytest.approx(1.0, abs=5e-3)
