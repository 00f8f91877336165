"""The mean-field limit of optimizers: particles that carry a weight, its memory and their fluctuations, against the limit's law.

Neurons sin(θx), θ normal at the start: the limit is the characteristics from 2,048 quantiles, by SciPy. (A Gauss rule of 160
nodes is worse by a factor of ten: the velocities turn fast where |θ| is large.)
"""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

import solvers
from tests.helpers.line_network import sine, sine_risk

RULES = [
    solvers.HeavyBall(0.5, 0.5),
    solvers.Nesterov(0.5, 0.5),
    solvers.ScalarRMSProp(0.05),
    solvers.RMSProp(0.05, eps=1e-3),
    solvers.Adam(0.05, eps=1e-3),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_particle_twice_changes_nothing(rule):
    """The learning rate is that of the limit, at every width: gradients and norms are the mean-field ones."""
    risk, x = sine_risk(20), np.random.default_rng(0).standard_normal((6, 1))
    twice = np.repeat(x, 2, axis=0)
    for flow in (rule, solvers.FreeEnergyFlow(rule, fluctuation_floor=0)):
        one = solvers.solve(flow, risk, x, steps=12)
        two = solvers.solve(flow, risk, twice, steps=12)
        np.testing.assert_allclose(two.centers, np.repeat(one.centers, 2, axis=1), atol=1e-11)
        np.testing.assert_allclose(two.fluctuation_trace, one.fluctuation_trace, rtol=1e-8)


RATE, BETA, STEPS = (
    2.6,
    0.3,
    6,
)  # closer to the edge, at 3.4, draws of 128 are not yet in the regime of the limit
NODES = norm.ppf((np.arange(2048) + 0.5) / 2048)
X, Y = (array[:, 0] for array in sine(20))


def function_of(theta):
    return np.mean(np.sin(np.outer(theta, X)), axis=0)


def heavy_ball(theta, m):
    """V of the heavy ball: the gradient of R'[ρ] at every θ, with half the mean square as loss."""
    misfit = function_of(theta) - Y
    g = (np.cos(np.outer(theta, X)) * X) @ misfit / len(X)
    following = BETA * m + g
    return np.stack([-RATE * following, following - m])


def in_the_limit():
    """The nodes' (c, u), each (2, nodes), at the end."""

    def velocity(t, state):
        c, u = state.reshape(2, 2, -1)
        plus, minus = heavy_ball(*(c + u)), heavy_ball(*(c - u))
        return np.stack([0.5 * (plus + minus), -2 * u - 0.5 * (plus - minus)]).ravel()

    half = 0.5 * heavy_ball(NODES, 0 * NODES)
    start = np.stack([np.stack([NODES, 0 * NODES]) + half, -half])
    end = solve_ivp(velocity, (0, STEPS), start.ravel(), method="DOP853", rtol=1e-9, atol=1e-12)
    return end.y[:, -1].reshape(2, 2, -1)


@pytest.mark.slow
def test_particles_with_momentum_approach_the_law_of_the_limit():
    """Width by width over sixteen seeds: the function of the centers, and ⟨u²⟩ of weights and of momenta, with N^(−½)."""
    (theta, _), u = in_the_limit()
    function, sizes = function_of(theta), np.mean(u**2, axis=1)
    assert sizes[0] > 1e-5  # it oscillates
    flow = solvers.FreeEnergyFlow(solvers.HeavyBall(RATE, BETA), fluctuation_floor=0)
    risk, widths, distances = sine_risk(20), [128, 512, 2048], []
    for width in widths:
        errors = []
        for seed in range(16):
            x0 = np.random.default_rng(seed).standard_normal((width, 1))
            state = solvers.solve(flow, risk, x0, STEPS, save_every=STEPS, dt=0.25).state.values
            found, spread = function_of(state[0, 0]), np.mean(state[1, :, :, 0] ** 2, axis=1)
            errors.append([np.mean((found - function) ** 2), *((spread / sizes - 1) ** 2)])
        distances.append(np.sqrt(np.mean(errors, axis=0)))
    slopes = np.polyfit(np.log(widths), np.log(distances), 1)[0]
    np.testing.assert_allclose(slopes, -0.5, atol=0.12)


@pytest.mark.slow
def test_particles_at_quantiles_are_the_characteristics():
    """At the same points, by RK4 of the package and by SciPy."""
    (theta, _), u = in_the_limit()
    flow = solvers.FreeEnergyFlow(solvers.HeavyBall(RATE, BETA), fluctuation_floor=0)
    solution = solvers.solve(flow, sine_risk(20), NODES[:, None], STEPS, save_every=STEPS, dt=0.25)
    state = solution.state.values
    np.testing.assert_allclose(function_of(state[0, 0]), function_of(theta), rtol=0, atol=2e-5)
    np.testing.assert_allclose(
        np.mean(state[1, :, :, 0] ** 2, axis=1), np.mean(u**2, axis=1), rtol=5e-4
    )


def test_the_learning_rate_of_a_sum_is_n_times_as_large():
    """PyTorch's gradients are those of the sum over neurons: 1/N of these, which heavy ball's rate makes up for, Adam's not."""
    risk, x = sine_risk(20), np.random.default_rng(1).standard_normal((6, 1))

    class Summed:
        def value(self, x):
            return risk.value(x)

        def gradient(self, x):
            return risk.gradient(x) / len(x)

    ball = RULES[0]
    wide = dataclasses.replace(ball, learning_rate=len(x) * ball.learning_rate)
    expected = solvers.solve(ball, risk, x, steps=12).centers
    np.testing.assert_allclose(solvers.solve(wide, Summed(), x, 12).centers, expected, atol=1e-12)
    adam = dataclasses.replace(RULES[-1], eps=0.0)
    expected = solvers.solve(adam, risk, x, steps=12).centers
    np.testing.assert_allclose(solvers.solve(adam, Summed(), x, 12).centers, expected, atol=1e-9)
