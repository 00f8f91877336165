"""The rod flows of RMSProp and Adam: full matrices by SciPy, limits, closed forms, the rules themselves, far past the edge."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import solvers
from solvers.flows.adaptive_rod_flow import AdaptiveRodFlow
from tests.helpers.landscapes import Quadratic, Valley
from tests.helpers.scaled_coordinates import InScaledCoordinates
from tests.solvers.flows.test_rmsprop_central_flow import TurnedValleys, at

VALLEYS, VALLEY = TurnedValleys(), Valley(0.0, 0.01)
# each with a mean of squares, and the two sharpnesses near its edge there
CASES = [
    (solvers.ScalarRMSProp(0.05, beta2=0.9, eps=0.01), 0.03, (7.4, 7.6)),
    (solvers.RMSProp(0.02, beta2=0.9, eps=0.05), 1e-4, (5.9, 6.1)),
    (solvers.Adam(0.02, 0.5, 0.9, eps=0.05), 0.01, (45.0, 45.5)),
]
RULES = [case[0] for case in CASES]
BEGUN = 20  # iterations in which the weights of Adam's means have filled, but for 12% of that of squares


class Reference:
    """c, Σ and ν as full matrices, with the equations of the docstring written out."""

    def __init__(self, rule, objective):
        self.rule, self.objective = rule, objective
        self.beta1 = getattr(rule, "beta1", None)
        self.rows = 1 if self.beta1 is None else 2

    def weight(self, beta, t):
        return 1 - 0.5 * (1 + beta) * beta ** (t + 0.5) if self.rule.bias_correction else 1.0

    def preconditioner(self, nu, t):
        root = np.sqrt(nu / self.weight(self.rule.beta2, t)) + self.rule.eps
        return root / self.rule.learning_rate * self.weight(self.beta1 or 0.0, t)

    def change(self, z, g, p):
        """V at a held P: linear in z = (x, m) and g."""
        n = len(g)
        if self.rows == 1:
            return -g / p
        mean = self.beta1 * z[n:] + (1 - self.beta1) * g
        return np.concatenate([-mean / p, mean - z[n:]])

    def squares(self, g):
        scalar = isinstance(self.rule, solvers.ScalarRMSProp)
        return np.full_like(g, g @ g) if scalar else g * g

    def parts(self, state, n, t):
        k = self.rows * n
        c, sigma, nu = state[:k], state[k:-n].reshape(k, k), state[-n:]
        p = self.preconditioner(nu, t)
        root = np.concatenate([np.sqrt(p), 1 / np.sqrt(p)])[:k]
        values, vectors = np.linalg.eigh(root[:, None] * sigma * root)
        return c, sigma, nu, p, np.sqrt(values[-1]) * vectors[:, -1] / root

    def velocity(self, t, state, n):
        c, sigma, nu, p, u = self.parts(state, n, t)
        gradients = [self.objective.gradient(end[:n]) for end in (c + u, c - u)]
        plus, minus = (
            self.change(c + s * u, g, p) for s, g in zip((1, -1), gradients, strict=True)
        )
        mean = 0.5 * (plus + minus)
        curved = [self.objective.hvp(end[:n], mean[:n]) for end in (c + u, c - u)]
        bend = self.change(mean, 0.5 * (curved[0] + curved[1]), p)
        feed = 0.25 * (np.outer(plus, plus) + np.outer(minus, minus))
        followed = 0.5 * sum(self.squares(g) for g in gradients)
        means = -math.log(self.rule.beta2) * (followed - nu)
        return np.concatenate([mean - 0.5 * bend, (feed - 2 * sigma).ravel(), means])

    def start(self, begun):
        """From two iterates of the rule, with the mean that divides the step from the first."""
        z, then = begun.values
        u = 0.5 * (z - then)[:-1].ravel()
        followed = 0.5 * sum(self.squares(self.objective.gradient(x[0])) for x in (z, then))
        nu = followed + math.sqrt(self.rule.beta2) * (0.5 * (z + then)[-1] - followed)
        return np.concatenate([0.5 * (z + then)[:-1].ravel(), np.outer(u, u).ravel(), nu])


def with_means(rule, x0, nu, step=0):
    """A state of the rule at x0 with these means, from which a model goes on; momenta are zero."""
    z = np.stack([x0, *rule.memory(x0)])
    z[-1] = nu
    return solvers.State(step, np.stack([z, rule.update(VALLEYS, step, z)]), np.nan, flow=rule)


def displaced(y, size=0.004):
    """Near the floor, both critical modes displaced."""
    x0 = at(*y)
    x0[:4] += size * VALLEYS.axes[0] - 0.75 * size * VALLEYS.axes[1]
    return x0


@pytest.mark.slow
@pytest.mark.essential
@pytest.mark.parametrize(("rule", "nu", "y"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_full_matrices_by_scipy(rule, nu, y):
    """Of order two, in c, ν, tr Σ and the size of the leading axis."""
    x0, steps = displaced(y), 6
    reference, n = Reference(rule, VALLEYS), len(x0)
    begun = with_means(rule, x0, nu * (1 - rule.beta2**BEGUN if rule.bias_correction else 1), BEGUN)
    end = solve_ivp(
        reference.velocity,
        (BEGUN, BEGUN + steps),
        reference.start(begun),
        rtol=1e-10,
        atol=1e-13,
        args=(n,),
    ).y[:, -1]
    c, sigma, nu, _, u = reference.parts(end, n, BEGUN + steps)
    trace = np.trace(sigma[:n, :n])
    assert leads(u[:n])
    expected = np.concatenate([c[:n], nu, [math.sqrt(trace), np.linalg.norm(u[:n])]])
    errors = []
    for dt in (1 / 8, 1 / 16):
        flow = solvers.RodFlow(rule, rank=2 * n)
        solution = solvers.solve(flow, VALLEYS, begun, steps, dt=dt)
        state = solution.state.values
        np.testing.assert_allclose(
            flow.preconditioner(0, state), reference.preconditioner(nu, BEGUN + steps), rtol=1e-3
        )
        found = [math.sqrt(solution.fluctuation_trace[-1]), np.linalg.norm(state[1, 0])]
        mean = means_of(state)
        errors.append(np.abs(np.concatenate([state[0, 0], mean, found]) - expected).max())
    assert errors[1] < 2e-5
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.6)


def leads(u):
    """Whether a rod is along critical modes, of both of which it has a part, rather than along the slope of the floor."""
    critical = np.abs(VALLEYS.axes @ u[:4])
    return critical.max() > 2 * np.abs(u[4:]).max() and critical.min() > 0.05 * critical.max()


def means_of(state):
    """ν: the first of the arrays behind the factors."""
    return state[-3, 0] if state.shape[1] == 1 else state[-2, 0]


AT_REST = 1 - 2.0**-53


def test_with_means_at_rest_it_is_gradient_descents():
    """κ → 0: the rod flow of rate 1 in the coordinates P^{1/2}x."""
    nu = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 1.2]) * 1e-2
    rule = solvers.RMSProp(0.05, beta2=AT_REST, eps=0.02)
    p = (np.sqrt(nu) + 0.02) / 0.05
    x0 = displaced((5.1, 5.3))
    begun = with_means(rule, x0, nu)
    ours = solvers.solve(solvers.RodFlow(rule), VALLEYS, begun, steps=30)
    plain = solvers.solve(
        solvers.RodFlow(1.0),
        InScaledCoordinates(VALLEYS, 1 / np.sqrt(p)),
        np.sqrt(p) * x0,
        steps=30,
    )
    root = np.sqrt(p)
    np.testing.assert_allclose(ours.centers, plain.centers / root, rtol=0, atol=1e-9)
    sigmas = np.einsum("...ri,...ri->...i", *[ours.state.values[1:-3, 0]] * 2)
    factors = plain.state.values[1:] / root
    np.testing.assert_allclose(sigmas, np.sum(factors**2, axis=0), rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(ours.predicted_losses, plain.predicted_losses, rtol=0, atol=1e-9)
    assert leads(ours.fluctuations[-1])


def test_of_adam_with_means_at_rest_it_is_the_heavy_balls():
    """m = (1 − β₁) Σ β₁^j g: the heavy ball of rate η(1 − β₁)/(√ν + ε)."""
    nu, eta, beta = 0.04, 0.06, 0.4
    rule = solvers.Adam(eta, beta, AT_REST, eps=0.01, bias_correction=False)
    ball = solvers.HeavyBall(eta * (1 - beta) / (math.sqrt(nu) + 0.01), beta)
    x0 = displaced((16.4, 16.6))
    ours = solvers.solve(solvers.RodFlow(rule), VALLEYS, with_means(rule, x0, nu), steps=30)
    plain = solvers.solve(solvers.RodFlow(ball), VALLEYS, x0, steps=30)
    np.testing.assert_allclose(ours.centers, plain.centers, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.fluctuation_trace, plain.fluctuation_trace, rtol=1e-6)
    assert leads(ours.fluctuations[-1])


class Slope:
    """E = a·x: g is constant, and every mean a geometric sum."""

    a = np.array([0.3, -0.8])

    def value(self, x):
        return float(self.a @ x)

    def gradient(self, x):
        return self.a.copy()

    def hvp(self, x, v):
        return np.zeros_like(v)


@pytest.mark.parametrize("bias_correction", [False, True])
@pytest.mark.parametrize("kind", [solvers.ScalarRMSProp, solvers.RMSProp, solvers.Adam])
def test_on_a_slope_the_error_is_of_second_order_in_the_rate_of_the_mean(kind, bias_correction):
    """ν(k) = a² + β₂^{k + ½} (½(ν_0 + ν_1) − a²), in closed form; with κ or 1 − β₂ for −log β₂ the error is of order one."""
    slope, errors, more = Slope(), [], {"beta1": 0.2} if kind is solvers.Adam else {}
    squares = slope.a**2 if kind is not solvers.ScalarRMSProp else np.full(2, slope.a @ slope.a)
    for beta2 in (0.9, 0.95):
        rule = kind(0.1, beta2=beta2, eps=0.02, bias_correction=bias_correction, **more)
        steps = round(2 / (1 - beta2))  # the same part of the way of ν
        warm = solvers.solve(rule, slope, np.array([0.1, 0.2]), steps=steps).state
        exact = solvers.solve(rule, slope, warm, steps=steps)
        rod = solvers.solve(solvers.RodFlow(rule), slope, warm, steps=steps)
        offset = 0.5 * (warm.values[0, -1] + warm.values[1, -1]) - squares
        nu = means_of(rod.state.values)
        np.testing.assert_allclose(nu, squares + beta2 ** (steps + 0.5) * offset, rtol=1e-13)
        errors.append(np.abs(rod.centers - exact.centers).max() / steps)
    if bias_correction:  # ν̂ is a² from the first step on
        assert max(errors) < 1e-13
    else:
        assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.8)


@pytest.mark.slow
def test_it_follows_scalar_rmsprop_in_the_valley():
    """Means over ±400 steps of y and σ², from the 25th step of the rule on, where its oscillation is the rod."""
    rule = solvers.ScalarRMSProp(0.05, beta2=0.99, second_moment=0.0225)
    warm = solvers.solve(rule, VALLEY, np.array([1e-3, 6.0]), steps=25).state
    rod = solvers.solve(solvers.RodFlow(rule), VALLEY, warm, steps=7875)
    for k, of_rule, variance in [
        (1000, 8.633, 6.56e-4), (4000, 13.814, 6.37e-4), (7500, 18.067, 6.32e-4)
    ]:  # fmt: skip
        near = np.abs(rod.times - k) <= 400
        assert rod.centers[near, 1].mean() == pytest.approx(of_rule, abs=5e-3)
        assert rod.fluctuation_trace[near].mean() == pytest.approx(variance, rel=0.01)
    assert solvers.effective_sharpness(rod.state.flow, VALLEY, rod.state) == pytest.approx(
        1.0, abs=0.03
    )


def test_from_the_floor_of_the_valley_it_misses_the_onset():
    """As gradient descent's: the slope along the floor is the leading axis, and the edge is passed without an oscillation."""
    rule = solvers.ScalarRMSProp(0.05, beta2=0.99, second_moment=0.0225)
    x0 = np.array([1e-3, 6.0])
    exact = solvers.solve(rule, VALLEY, x0, steps=120)
    rod = solvers.solve(solvers.RodFlow(rule), VALLEY, x0, steps=120)
    assert (
        np.abs(exact.fluctuations[20:, 0]).max()
        > 0.02
        > 1e3 * np.abs(rod.fluctuations[20:, 0]).max()
    )
    assert solvers.effective_sharpness(rule, VALLEY, exact.state) < 1.1
    assert solvers.effective_sharpness(rod.state.flow, VALLEY, rod.state) > 1.9


def test_it_follows_rmsprop_where_the_critical_modes_lead():
    """Two modes that beat at the moving edge: center and size of the oscillation, which is up to nine times that of the slope."""
    rule = solvers.RMSProp(0.02, beta2=0.99, eps=0.05, second_moment=1e-4)
    x0 = displaced((5.95, 6.0), 0.006)
    exact = solvers.solve(rule, VALLEYS, x0, steps=150)
    rod = solvers.solve(solvers.RodFlow(rule), VALLEYS, x0, steps=150)
    assert np.linalg.norm(rod.centers - exact.centers, axis=1).max() < 2e-4
    sizes = rod.fluctuation_trace[20:], exact.fluctuation_trace[20:]
    np.testing.assert_allclose(*sizes, rtol=0.1)
    assert sizes[1].max() > 5e-5


@pytest.mark.parametrize("ratio", [1.5, 3.0, 6.0])
@pytest.mark.parametrize(
    "rule",
    [solvers.RMSProp(0.3, AT_REST, 0.0), solvers.Adam(0.3, 0.5, AT_REST, 0.0, False)],
    ids=repr,
)
def test_its_steps_are_stable_far_beyond_the_edge(rule, ratio):
    """On a bowl with ν at rest, ċ = (A − ½A²)c: a mode beyond the edge, a billionth of the one that moves, decays."""
    nu = np.array([0.04, 0.01])
    p = np.sqrt(nu) / 0.3
    curvatures = np.array([ratio * rule.edge, 0.05]) * p  # λ₁(P⁻¹H) is the ratio times the edge
    bowl, steps = Quadratic(np.diag(curvatures)), 20
    z = np.stack([np.array([1e-9, 1.0]), *rule.memory(np.ones(2))])
    z[-1] = nu
    begun = solvers.State(0, np.stack([z, rule.update(bowl, 0, z)]), np.nan, flow=rule)
    solution = solvers.solve(solvers.RodFlow(rule), bowl, begun, steps)
    assert np.abs(solution.centers[5:, 0]).max() < 1e-9
    push, beta = 0.05, getattr(rule, "beta1", 0.0)
    a = np.array([[-(1 - beta) * push, -beta], [(1 - beta) * push, beta - 1]])  # on (x, m/P)
    exact = expm(steps * (a - 0.5 * a @ a)) @ (np.array([1.0, 0.0]) + 0.5 * a @ [1.0, 0.0])
    assert solution.centers[-1, 1] == pytest.approx(exact[0], rel=1e-3)


@pytest.mark.slow
def test_beyond_the_largest_number_of_stages_a_step_is_halved():
    """At ηS = 240 the center relaxes at 29,040 per iteration; 200 stages are stable for 22,877."""
    bowl, flow = Quadratic(np.diag([240.0, 1e-3])), solvers.RodFlow(1.0)
    state = flow.start(bowl, np.array([1e-9, 1.0]))
    assert abs(flow.advance(bowl, state, 1.0)[0, 0]) < 0.6 * abs(state[0, 0])


def test_the_mean_stays_positive_where_the_gradient_falls():
    """From 10⁶ squares to less than one in a step, β₂ = ½: a scheme with weights of both signs would bring ν below zero."""
    rule = solvers.RMSProp(0.5, beta2=0.5, eps=0.0, second_moment=1e-6)
    bowl = Quadratic(np.diag([1.0, 300.0]))
    solution = solvers.solve(solvers.RodFlow(rule), bowl, np.array([0.6, 4.0]), steps=40)
    assert solution.status == "complete" and np.isfinite(solution.centers).all()
    assert (means_of(solution.state.values) > 0).all()


def test_where_no_gradient_has_been_seen_nothing_moves():
    """ε = 0 and an entry on which E does not depend: P has a zero there."""
    bowl = Quadratic(np.diag([1.0, 0.0]))
    for rule in (solvers.RMSProp(0.1, eps=0.0), solvers.Adam(0.1, eps=0.0)):
        solution = solvers.solve(solvers.RodFlow(rule), bowl, np.array([1.0, 0.7]), steps=10)
        assert solution.status == "complete"
        np.testing.assert_array_equal(solution.centers[:, 1], 0.7)
        assert solution.centers[-1, 0] < 0.9


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_where_the_rate_changes_the_means_are_kept(rule):
    flow = solvers.RodFlow(rule)
    state = solvers.solve(flow, VALLEYS, displaced((3.0, 3.2)), steps=5).state.values
    moved = flow.with_rate(2 * rule.learning_rate).carried(VALLEYS, 5, state, 2.0)
    np.testing.assert_array_equal(moved[0], state[0])
    np.testing.assert_array_equal(means_of(moved), means_of(state))
    beside = 3 if state.shape[1] == 1 else 2
    np.testing.assert_array_equal(moved[1:-beside, 0], 2 * state[1:-beside, 0])
    np.testing.assert_array_equal(moved[1:-beside, 1:], state[1:-beside, 1:])
    changing = solvers.Scheduled(flow, [[0, rule.learning_rate], [4, 0.5 * rule.learning_rate]])
    assert solvers.solve(changing, VALLEYS, displaced((3.0, 3.2)), steps=9).status == "complete"


@pytest.mark.parametrize("steps", [4, 5])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_it_goes_on_with_the_memory_of_the_rule(rule, steps):
    warm = solvers.solve(rule, VALLEYS, displaced((3.0, 3.2)), steps=steps)
    begun = solvers.solve(solvers.RodFlow(rule), VALLEYS, warm.state, steps=0)
    np.testing.assert_allclose(begun.centers[0], warm.centers[-1], rtol=1e-14)
    np.testing.assert_allclose(begun.fluctuations[0], warm.fluctuations[-1], rtol=0, atol=1e-15)
    values = warm.state.values
    if values.shape[1] == 3:
        np.testing.assert_allclose(begun.state.values[0, 1], values[:, 1].mean(axis=0), rtol=1e-13)
    # the mean that divides the step from there, to second order in its rate
    after = rule.update(VALLEYS, steps + 1, values[1])
    means = 0.25 * (values[0, -1] + 2 * values[1, -1] + after[-1])
    np.testing.assert_allclose(means_of(begun.state.values), means, rtol=0.1**2)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_run_that_is_cut_goes_on_bit_for_bit(rule):
    flow, x0 = solvers.RodFlow(rule), displaced((3.0, 3.2))
    whole = solvers.solve(flow, VALLEYS, x0, steps=12)
    half = solvers.solve(flow, VALLEYS, x0, steps=5)
    rest = solvers.solve(flow, VALLEYS, half.state, steps=7)
    assert np.array_equal(rest.state.values, whole.state.values)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_arrays_of_its_state_are_as_many_as_declared(rule, rank):
    state = solvers.RodFlow(rule, rank).start(VALLEYS, displaced((3.0, 3.2)))
    declared = AdaptiveRodFlow.state_arrays({"optimizer": rule, "rank": rank})
    assert state.size == 6 * declared


def test_its_mirror_has_the_same_center_and_means():
    flow = solvers.RodFlow(RULES[2])
    state = flow.start(VALLEYS, displaced((3.0, 3.2)))
    mirrored = flow.mirrored(state)
    np.testing.assert_array_equal(flow.fluctuation(0, mirrored), -flow.fluctuation(0, state))
    np.testing.assert_array_equal(flow.mirrored(mirrored), state)
    np.testing.assert_array_equal(mirrored[[0, -2, -1]], state[[0, -2, -1]])


def test_what_it_cannot_model_is_refused():
    with pytest.raises(
        ValueError, match="optimizer must be a ScalarRMSProp, RMSProp or Adam, got HeavyBall"
    ):
        AdaptiveRodFlow(solvers.HeavyBall(0.1))
    with pytest.raises(
        ValueError, match="beta2 must be above 0 for a rod flow, where ν changes slowly, got 0"
    ):
        solvers.RodFlow(solvers.RMSProp(0.1, beta2=0.0))
    with pytest.raises(ValueError, match="rank must be"):
        solvers.RodFlow(RULES[0], rank=0)
