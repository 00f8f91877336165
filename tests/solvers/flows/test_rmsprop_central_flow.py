"""The central flows of RMSProp and Adam: an independent stiff integration, the rules' own averages, limits, the moving edge."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import solvers
from solvers.flows.adaptive_central_flow import AdaptiveCentralFlow
from tests.helpers.landscapes import Quadratic, Valley
from tests.helpers.scaled_coordinates import InScaledCoordinates

ETA, EPS = 0.02, 0.05
RULE = solvers.RMSProp(ETA, beta2=0.99, eps=EPS, second_moment=1e-4)


class TurnedValleys:
    """E = ½ (y_1 a² + y_2 b²) − 0.01 a − 0.012 b − 0.01 y_1 − 0.0101 y_2 of (x_1, …, x_4, y_1, y_2).

    a and b are coordinates of x along axes that are turned, so that no mode is along an entry.
    """

    tilt = 0.6 * math.cos(0.3), 0.6 * math.sin(0.3)
    axes = np.array([[0.8, tilt[0], tilt[1], 0.0], [0.0, -tilt[1], tilt[0], 0.8]])
    drift = np.array([*(0.01 * axes[0] + 0.012 * axes[1]), 0.01, 0.0101])

    def value(self, p):
        a = self.axes @ p[:4]
        return float(0.5 * np.sum(p[4:] * a**2) - self.drift @ p)

    def gradient(self, p):
        a = self.axes @ p[:4]
        return np.concatenate([self.axes.T @ (p[4:] * a), 0.5 * a**2]) - self.drift

    def hvp(self, p, v):
        a, b = self.axes @ p[:4], self.axes @ v[:4]
        return np.concatenate([self.axes.T @ (p[4:] * b + a * v[4:]), a * b])

    def third(self, p, u):
        b = self.axes @ u[:4]
        return np.concatenate([self.axes.T @ (2 * b * u[4:]), b * b])


def at(y_1, y_2):
    """A point near the floor, where a = 0.01/y_1 and b = 0.012/y_2."""
    return np.array([*(np.array([0.011 / y_1, 0.011 / y_2]) @ TurnedValleys.axes), y_1, y_2])


VALLEYS, X0 = TurnedValleys(), at(5.85, 5.9)  # the edge is near 6


def by_penalty(objective, w, nu, steps, edge=2.0, stiffness=1.0):
    """With Σ = stiffness · P^{−½}(P^{−½}HP^{−½} − e)₊P^{−½} in place of complementarity, by SciPy: w, ν and tr Σ at the end."""
    kappa, n = (1 - 0.99) / 0.99, len(w)

    def fluctuations(z):
        p = (np.sqrt(z[n:]) + EPS) / ETA
        hessian = np.array([objective.hvp(z[:n], e) for e in np.eye(n)])
        values, q = np.linalg.eigh(hessian / np.sqrt(np.outer(p, p)))
        return p, hessian, (q * np.sqrt(stiffness * np.maximum(values - edge, 0))).T / np.sqrt(p)

    def velocity(t, z):
        p, hessian, us = fluctuations(z)
        g = objective.gradient(z[:n])
        push = sum(0.5 * objective.third(z[:n], u) for u in us)
        squares = g**2 + sum((hessian @ u) ** 2 for u in us)
        return np.concatenate([-(g + push) / p, kappa * (squares - z[n:])])

    start = np.concatenate([w, nu])
    z = solve_ivp(velocity, (0, steps), start, method="LSODA", rtol=1e-8, atol=1e-11).y[:, -1]
    return z[:n], z[n:], np.sum(fluctuations(z)[2] ** 2)


@pytest.mark.parametrize("max_modes", [2, 8])
def test_two_modes_by_penalty(max_modes):
    """The penalty exceeds the edge by PΣ over the stiffness, 1e-4, and changes ν by 1e-4 of it; steps err by a tenth of that."""
    flow = solvers.CentralFlow(RULE, max_modes)
    first = flow.start(VALLEYS, X0)
    w, nu, trace = by_penalty(VALLEYS, first[0], first[-2], 40)
    solution = solvers.solve(flow, VALLEYS, X0, steps=40, save_every=40)
    assert flow.diagnostics(VALLEYS, 40, solution.state.values)["modes"] == 2
    np.testing.assert_allclose(solution.centers[-1], w, rtol=0, atol=1e-6)
    np.testing.assert_allclose(solution.state.values[-2], nu, rtol=5e-4)
    assert solution.fluctuation_trace[-1] == pytest.approx(trace, rel=2e-3)


@pytest.mark.slow
@pytest.mark.essential
def test_adam_by_penalty():
    """β₁ = ½: the same equations with e = 6."""
    rule = solvers.Adam(ETA, 0.5, 0.99, eps=EPS, bias_correction=False)
    flow = solvers.CentralFlow(rule)
    state = flow.start(VALLEYS, at(17.9, 17.9))
    state[-2] = 1e-4
    start = state.copy()
    for _ in range(25 * 12):
        state = flow.advance(VALLEYS, state, 1 / 12)
    w, nu, trace = by_penalty(VALLEYS, start[0], start[-2], 25, edge=6.0)
    assert flow.diagnostics(VALLEYS, 25, state)["modes"] == 2
    np.testing.assert_allclose(flow.center(0, state), w, rtol=0, atol=1e-6)
    np.testing.assert_allclose(state[-2], nu, rtol=5e-4)
    assert flow.fluctuation_trace(VALLEYS, 0, state) == pytest.approx(trace, rel=5e-3)


def test_the_edge_is_held():
    """ηλ/(√ν + ε) = 2.00 ± 0.01 from the crossing on, in the metric of every entry's own ν."""
    flow = solvers.CentralFlow(RULE)
    found = []

    def look(at):
        if at.step >= 30 and at.step % 5 == 0:
            found.append(2 * solvers.effective_sharpness(flow, VALLEYS, at.state))

    solvers.solve(flow, VALLEYS, X0, steps=60, observe=look)
    np.testing.assert_allclose(found, 2.0, rtol=0, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("bias_correction", [False, True])
def test_it_follows_the_rule(bias_correction):
    """Means over ±200 steps of a, b, y and of P; the flow at 2.00 ± 0.01.

    Two modes that beat are not averaged as well as one: P of the entries that both share differs by 1.5%, and the rule's larger
    eigenvalue is above 2 by 3% in the mean.
    """
    rule = dataclasses.replace(RULE, bias_correction=bias_correction, second_moment=0.0)
    x0, near = at(5.0, 5.2), slice(600, 1001)
    means, edges = [], []
    for one in (rule, solvers.CentralFlow(rule)):
        seen, own = [], []

        def look(at, one=one, seen=seen, own=own):
            if at.step in range(near.start, near.stop, 20):
                seen.append(one.preconditioner(at.step, at.state.values))
                own.append(2 * solvers.effective_sharpness(one, VALLEYS, at.state))

        solution = solvers.solve(one, VALLEYS, x0, steps=1000, observe=look)
        w = solution.centers[near].mean(axis=0)
        means.append([*(VALLEYS.axes @ w[:4]), *w[4:], *np.mean(seen, axis=0)])
        edges.append(own)
    np.testing.assert_allclose(means[1][:2], means[0][:2], rtol=0, atol=2e-6)
    np.testing.assert_allclose(means[1][2:4], means[0][2:4], rtol=5e-4)
    np.testing.assert_allclose(means[1][4:], means[0][4:], rtol=0.02)
    np.testing.assert_allclose(edges[1], 2.0, rtol=0, atol=0.01)
    assert np.mean(edges[0]) == pytest.approx(2.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "y"), [(solvers.Adam(ETA, 0.2, 0.99, eps=EPS), 9.4), (RULE, 6.2)], ids=repr
)
def test_one_mode_is_followed_at_its_edge(rule, y):
    """In the valley, means over 400 steps: y, P along x, and λ₁(P⁻¹H) of the rule itself, 3 for Adam with β₁ = 0.2, else 2."""
    valley, x0 = Valley(0.0, 0.01), np.array([1e-3, y])
    means = []
    for one in (rule, solvers.CentralFlow(rule)):
        seen = []

        def look(at, one=one, seen=seen):
            if at.step >= 400 and at.step % 20 == 0:
                root = one.preconditioner(at.step, at.state.values)[0]
                seen.append((root, solvers.effective_sharpness(one, valley, at.state)))

        solution = solvers.solve(one, valley, x0, steps=800, observe=look)
        means.append([solution.centers[400:, 1].mean(), *np.mean(seen, axis=0)])
    assert means[1][0] == pytest.approx(means[0][0], abs=1e-3)
    assert means[1][1] == pytest.approx(means[0][1], rel=2e-3)
    assert means[0][2] == pytest.approx(1.0, abs=2e-3)
    assert means[1][2] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", [solvers.RMSProp, solvers.ScalarRMSProp])
def test_with_a_mean_at_rest_it_is_gradient_descents(kind):
    """κ → 0: ν stays at ν_0, and the learning rate is η/(√ν_0 + ε)."""
    eta, nu = 0.06, 0.04
    rule = kind(eta, beta2=1 - 2.0**-53, eps=0.0, second_moment=nu)
    valley, x0 = Valley(1.0, 0.01), np.array([0.01, 6.6])
    adaptive = solvers.solve(solvers.CentralFlow(rule), valley, x0, steps=60)
    plain = solvers.solve(solvers.CentralFlow(eta / math.sqrt(nu)), valley, x0, steps=60)
    np.testing.assert_allclose(adaptive.centers, plain.centers, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        adaptive.fluctuation_trace, plain.fluctuation_trace, rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(adaptive.predicted_losses, plain.predicted_losses, rtol=0, atol=1e-6)


def test_with_means_at_rest_it_is_gradient_descents_in_scaled_coordinates():
    """κ → 0 with another ν in every entry: the central flow of rate 1 in the coordinates P^{1/2} x."""
    rule = solvers.RMSProp(ETA, beta2=1 - 2.0**-53, eps=0.0)
    flow, plain = solvers.CentralFlow(rule), solvers.CentralFlow(1.0)
    nu = np.array([3.6e-3, 3.4e-3, 3.5e-3, 3.3e-3, 2e-3, 1e-3])
    scale = np.sqrt(ETA / np.sqrt(nu))
    state = flow._state(X0)
    state[-3], state[-2:] = 1.0, nu
    other, scaled = plain._state(X0 / scale), InScaledCoordinates(VALLEYS, scale)
    for _ in range(120):
        state = flow.advance(VALLEYS, state, 0.25)
        other = plain.advance(scaled, other, 0.25)
    np.testing.assert_allclose(state[0], scale * other[0], rtol=0, atol=1e-9)
    u, v = flow.fluctuation(0, state), scale * plain.fluctuation(0, other)
    np.testing.assert_allclose(u.T @ u, v.T @ v, rtol=0, atol=1e-9)
    assert np.trace(u.T @ u) > 1e-4


def test_bias_correction_below_the_edge_by_scipy():
    """ṡ = κ(1 − s), ṅ = κ(∇E² − n), ẇ = −η∇E/(√(n/s) + ε) on a bowl, from n = (1 − β₂)∇E², s = 1 − β₂."""
    rule = solvers.RMSProp(1e-3, beta2=0.9, eps=0.01, bias_correction=True)
    bowl, x0, kappa = Quadratic(np.diag([2.0, 1.0])), np.array([1.0, -0.5]), 0.1 / 0.9
    curvature = np.array([2.0, 1.0])

    def velocity(t, z):
        w, n, s = z[:2], z[2:4], z[4]
        g = curvature * w
        return [*(-1e-3 * g / (np.sqrt(n / s) + 0.01)), *(kappa * (g**2 - n)), kappa * (1 - s)]

    g = curvature * x0
    middle = x0 - 0.5e-3 * g / (np.abs(g) + 0.01)
    start = [*middle, *(0.1 * g**2), 0.1]
    exact = solve_ivp(velocity, (0, 60), start, rtol=1e-10, atol=1e-14).y[:, -1]
    flow = solvers.CentralFlow(rule)
    ends = [solvers.solve(flow, bowl, x0, steps=60, dt=dt).state.values for dt in (0.5, 0.25)]
    assert ends[0][-3, 0] == pytest.approx(exact[4], rel=1e-9)
    errors = [np.concatenate([end[0] - exact[:2], end[-2] - exact[2:4] / exact[4]]) for end in ends]
    np.testing.assert_allclose(errors[0], 4 * errors[1], rtol=0, atol=2e-7)  # of order two
    assert np.abs(errors[1]).max() < 1e-5


def test_an_entry_without_a_gradient_stays():
    """ε = 0: where no gradient has been seen the rule does not divide by zero, nor does the flow."""
    bowl = Quadratic(np.diag([2.0, 0.0]))
    rule = solvers.RMSProp(1e-3, beta2=0.9, eps=0.0)
    solution = solvers.solve(solvers.CentralFlow(rule), bowl, np.array([1.0, 3.0]), steps=20)
    assert solution.status == "complete" and np.all(solution.centers[:, 1] == 3.0)


def test_a_run_that_is_cut_goes_on_bit_for_bit():
    flow = solvers.CentralFlow(dataclasses.replace(RULE, bias_correction=True))
    whole = solvers.solve(flow, VALLEYS, X0, steps=12)
    half = solvers.solve(flow, VALLEYS, X0, steps=5)
    rest = solvers.solve(flow, VALLEYS, half.state, steps=7)
    assert np.array_equal(rest.state.values, whole.state.values)


def test_the_inner_product_is_the_objectives():
    """A mean over particles in place of the sum, with derivatives taken in it: the same flow."""

    class Mean:
        """N times the objective as a function of N entries, of which gradients are N times as large and products the mean."""

        def __init__(self, objective):
            self.objective = objective

        def value(self, p):
            return self.objective.value(p)

        def gradient(self, p):
            return p.size * self.objective.gradient(p)

        def hvp(self, p, v):
            return p.size * self.objective.hvp(p, v)

        def third(self, p, u):
            return p.size * self.objective.third(p, u)

        def inner(self, u, v):
            return float(np.mean(u * v))

    rule = dataclasses.replace(RULE, eps=6 * EPS, second_moment=36e-4)
    mean = solvers.solve(solvers.CentralFlow(rule), Mean(VALLEYS), X0, steps=25)
    plain = solvers.solve(solvers.CentralFlow(RULE), VALLEYS, X0, steps=25)
    np.testing.assert_allclose(mean.centers, plain.centers, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        6 * mean.fluctuation_trace, plain.fluctuation_trace, rtol=1e-4, atol=1e-12
    )
    np.testing.assert_allclose(mean.predicted_losses, plain.predicted_losses, rtol=0, atol=1e-9)
    assert plain.fluctuation_trace[-1] > 0


def test_what_it_cannot_model_is_refused():
    with pytest.raises(
        ValueError, match="optimizer must be a ScalarRMSProp, RMSProp or Adam, got HeavyBall"
    ):
        AdaptiveCentralFlow(solvers.HeavyBall(0.1))
    with pytest.raises(ValueError, match="beta2 must be above 0 for a central flow"):
        solvers.CentralFlow(solvers.Adam(0.1, beta2=0.0))
