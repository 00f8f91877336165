"""What the pages of docs/theory prove and no other test checks: each statement against arithmetic written out here."""

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import argrelmax

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task
from tests.helpers.landscapes import Quadratic, Valley
from tests.helpers.matrices import slow_unless
from tests.literature.test_valley import DECAY_THEN_ONSET

ETA, EDGE = 0.3, 2 / 0.3


def valley_gradient(p, zeta=1.0, epsilon=0.01):
    x, y = p
    return np.array([x * y + 1.5 * zeta * x * x - epsilon, 0.5 * x * x - epsilon])


# --- descent and ascent ----------------------------------------------------------------------------


def split_step(step, c, u):
    """One step of the center and the fluctuation of the map z ← z + V(z)."""
    plus, minus = step(c + u), step(c - u)
    return c + 0.5 * (plus + minus), -u - 0.5 * (plus - minus)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_any_map_is_split_into_center_and_fluctuation(beta):
    """Heavy ball in PyTorch's form, state (w, m): the alternating sum of the split is the run itself, whatever the split of
    the start, and the difference is the run from the other end."""

    def step(z):
        w, m = z
        m_next = beta * m + valley_gradient(w)
        return np.array([-ETA * m_next, m_next - m])

    for share in (1.0, 0.0, -0.7):  # the first is that of the rod
        z = np.array([[0.02, 7.9], [0.0, 0.0]]) if beta else np.array([[0.1, 6.5], [0.0, 0.0]])
        other = z + share * step(z)
        c, u = 0.5 * (z + other), 0.5 * (z - other)
        for k in range(150):
            np.testing.assert_allclose(c + (-1) ** k * u, z, rtol=0, atol=1e-11)
            np.testing.assert_allclose(c - (-1) ** k * u, other, rtol=0, atol=1e-11)
            z, other = z + step(z), other + step(other)
            c, u = split_step(step, c, u)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9])
def test_the_edge_of_heavy_ball_is_where_the_fluctuation_stops_decaying(beta):
    """On ½λw² the fluctuation is multiplied by −(I + M), V = Mz, whose spectral radius passes one at ηλ = 2(1 + β)."""

    def radius(product):  # η = 1
        move = np.array([[-product, -beta], [product, beta - 1]])
        return np.abs(np.linalg.eigvals(np.eye(2) + move)).max()

    assert radius(2 * (1 + beta)) == pytest.approx(1.0, abs=1e-12)
    assert radius(2 * (1 + beta) - 1e-3) < 1 < radius(2 * (1 + beta) + 1e-3)


def test_critical_points_of_the_free_energy_are_the_two_cycles_of_gradient_descent():
    x = np.array([0.1, 6.6])
    for _ in range(20_000):
        x = x - ETA * valley_gradient(x)
    other = x - ETA * valley_gradient(x)
    w, u = 0.5 * (x + other), 0.5 * (x - other)
    assert np.linalg.norm(u) > 0.1
    energy = solvers.FreeEnergy(Valley(), ETA)
    for part in energy.gradient(w, u):
        assert np.abs(part).max() < 1e-12
    mean = 0.5 * (Valley().value(x) + Valley().value(other))
    size = np.sum(valley_gradient(x) ** 2)
    assert energy.value(w, u) == pytest.approx(mean - ETA / 4 * size, rel=1e-12)


# --- the kinetic equation --------------------------------------------------------------------------


def test_velocities_of_two_laws_differ_by_at_most_the_lipschitz_constant():
    """‖V[μ](z) − V[ν](z')‖ ≤ (2ηL + 2) ‖z − z'‖ in L² of any coupling, L that of (θ, ρ) ↦ ∇R'[ρ](θ).

    f(x) = ∫ sin(θx) dρ, squared loss: |∂_θ ∇R'| ≤ mean (1 + |y|) x², and ∇R' moves by mean x² times W1 at most."""
    rng = np.random.default_rng(0)
    x, eta, n = np.linspace(-2, 2, 40), 2.0, 30
    y = 0.6 * np.sin(2 * x)
    lipschitz = max(np.mean((1 + np.abs(y)) * x**2), np.mean(x**2))
    network = TwoLayerNetwork(1, activation="sin", bias=False, train_output=False)
    risk = Risk(network, Task(x[:, None], y[:, None], "sine"))
    flow = solvers.FreeEnergyFlow(eta)
    worst = 0.0
    for scale in (2.0, 0.3, 0.01):
        for _ in range(20):
            z = rng.standard_normal((2, n, 1))
            other = z + scale * rng.standard_normal(z.shape)
            change = flow.velocity(risk, 0.0, z) - flow.velocity(risk, 0.0, other)
            worst = max(worst, np.linalg.norm(change) / np.linalg.norm(z - other))
    assert 1 < worst <= 2 * eta * lipschitz + 2


# --- the half-step delay ---------------------------------------------------------------------------


@pytest.mark.parametrize(("product", "stable"), [(3.05, True), (3.25, False)])
def test_the_delayed_center_is_stable_up_to_pi(product, stable):
    """ẇ = −ηλ w(t − ½): the first pair of roots of s = −ηλ e^(−s/2) passes the imaginary axis, at ±iπ, where ηλ = π."""
    flow = solvers.GradientFlow(1.0, delay=True)
    run = solvers.solve(flow, Quadratic(np.array([[product]])), np.ones(1), 60, dt=1 / 128)
    sizes = np.abs(run.centers[:, 0])
    assert (sizes[-20:].max() < sizes[:20].max()) == stable


@pytest.mark.parametrize(
    ("m", "limit"),
    slow_unless(lambda m, _: m < 3, [(1, 2.0), (2, 4.0), (3, 3.0), (4, 3.3137), (8, 3.1826)]),
)
def test_the_real_axis_on_which_the_delays_scheme_is_stable(m, limit):
    """Its numbers of docs/theory/schemes.md, for dt = 1/m."""
    for product, stable in ((limit - 0.01, True), (limit + 0.01, False)):
        flow = solvers.GradientFlow(1.0, delay=True)
        risk = Quadratic(np.array([[product]]))
        run = solvers.solve(flow, risk, np.ones(1), 3000, dt=1 / m, save_every=10)
        assert (np.abs(run.centers[-1, 0]) < 1) == stable


def orbit(height):
    """∫ p² ds over a closed orbit of A' = ηYA, Y' = η(1 − ½A²), through (√2, Y) with the height Y > 0; p = ½A² − 1."""

    def velocity(s, z):
        p = 0.5 * np.exp(2 * z[0]) - 1
        return [ETA * z[1], -ETA * p, p**2]

    def crossing(s, z):
        return z[0] - 0.5 * np.log(2)

    crossing.direction = 1.0
    start = [0.5 * np.log(2), height, 0.0]
    run = solve_ivp(velocity, (0, 300), start, "DOP853", rtol=1e-10, atol=1e-12, events=crossing)
    return next(z[2] for t, z in zip(run.t_events[0], run.y_events[0], strict=True) if t > 1)


def swing(flow, zeta, epsilon):
    """The first two peaks of Y = (y − 2/η)/√ε, each by a parabola through three steps."""
    start = np.array([2 * np.sqrt(2 * epsilon), EDGE])
    is_ode = isinstance(flow, solvers.FreeEnergyFlow) and not flow.delay
    scheme = "rk4" if is_ode else None  # whose error is far below that of the expansion
    steps = round(32 / np.sqrt(epsilon))
    run = solvers.solve(flow, Valley(zeta, epsilon), start, steps, integrator=scheme)
    y = (run.centers[:, 1] - EDGE) / np.sqrt(epsilon)
    peaks = argrelmax(y, order=round(1.5 / np.sqrt(epsilon)))[0][:2]
    before, at, after = y[peaks - 1], y[peaks], y[peaks + 1]
    return at - (after - before) ** 2 / (8 * (before - 2 * at + after))


SWINGS = {
    "descent": (solvers.GradientDescent(ETA), 1.0),
    "delay": (solvers.FreeEnergyFlow(ETA, delay=True), 1.0),
    "ode": (solvers.FreeEnergyFlow(ETA), 0.0),
    "exact": (solvers.FreeEnergyFlow(ETA, growth="exact"), 0.0),
}


@pytest.mark.parametrize(
    ("name", "zeta"),
    slow_unless(
        lambda name, zeta: (name, zeta) == ("ode", 0.0),
        itertools.product(SWINGS, [0.0, 0.6]),
    ),
)
def test_the_drift_of_a_swing_is_that_of_the_multiple_scales(name, zeta):
    """ΔC = √ε η² (1 − 9ζ²/2) ∫p² ds per swing for gradient descent and the delay, without the 1 for flows without delay, up to
    relative corrections of order √ε (0.02 here, times a few)."""
    epsilon = 4e-4
    flow, at_zero = SWINGS[name]
    first, second = swing(flow, zeta, epsilon)
    change = 0.5 * (second**2 - first**2)
    unit = np.sqrt(epsilon) * ETA**2 * orbit(first)
    assert change / unit == pytest.approx(at_zero - 4.5 * zeta**2, abs=0.08)


# --- the onset -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounded", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize(("zeta", "epsilon", "eta", "start", "steps"), DECAY_THEN_ONSET)
def test_entry_and_exit_tell_the_onset(zeta, epsilon, eta, start, steps, rounded):
    """log|u| gains log|ηS − 1| per step, down to the rounding of x at most, while y drifts by ηε: the step where |u| is √2ε
    beyond the edge, against the peak of gradient descent in float64 and in exact arithmetic (`tests/literature/test_valley.py`).
    The peak comes within a quarter of the period of the swing that follows, 2π/(η√(2ε)) for small swings."""
    x0, y = start
    log_u = np.log(0.5 * eta * abs(x0 * y + 1.5 * zeta * x0**2 - epsilon))
    exit_at = 0
    while log_u < 0.5 * np.log(2 * epsilon) or eta * y < 2:
        floor = epsilon / y  # x on the valley's floor
        log_u += np.log(abs(eta * (y + 3 * zeta * floor) - 1))
        if rounded:
            log_u = max(log_u, np.log(np.spacing(floor) / 12**0.5))
        y, exit_at = y + eta * epsilon, exit_at + 1
    growth = solvers.FreeEnergyFlow(eta, growth="exact", fluctuation_floor=0.0)
    flow = solvers.GradientDescent(eta) if rounded else growth
    run = solvers.solve(flow, Valley(zeta, epsilon), np.array(start), steps)
    assert abs(run.centers[:, 1].argmax() - exit_at) <= 0.25 * 2 * np.pi / (
        eta * np.sqrt(2 * epsilon)
    )


# --- the other models ------------------------------------------------------------------------------


def test_the_covariance_of_the_rod_is_gradient_descents_step_for_step():
    """Σ_k = u_k u_kᵀ obeys Σ_{k+1} − Σ_k = (η²/4)(g₊g₊ᵀ + g₋g₋ᵀ) − 2Σ_k with g± at w_k ± u_k."""
    x = np.array([0.1, 6.5])
    for _ in range(50):
        after = x - ETA * valley_gradient(x)
        w, u = 0.5 * (x + after), 0.5 * (x - after)
        plus, minus = valley_gradient(w + u), valley_gradient(w - u)
        sigma = np.outer(u, u)
        change = ETA**2 / 4 * (np.outer(plus, plus) + np.outer(minus, minus)) - 2 * sigma
        following = 0.5 * (after - (after - ETA * valley_gradient(after)))
        np.testing.assert_allclose(sigma + change, np.outer(following, following), atol=1e-15)
        x = after


def test_the_edge_flow_is_the_free_energy_flow_with_its_ascent_linearised():
    """d(mq)/dt = (η∇²E(w) − 2) mq, and ẇ that of the endpoint closure."""
    w, q, m = np.array([0.05, 6.7]), np.array([0.8, 0.6]), 0.02
    flow = solvers.EdgeFlow(ETA)
    velocity, _ = flow.rates(Valley(), 0.0, np.stack([w, q, np.full(2, np.log(m))]))
    u_dot = m * velocity[1] + m * velocity[2, 0] * q
    hessian = np.array([[w[1] + 3 * w[0], w[0]], [w[0], 0.0]])
    np.testing.assert_allclose(u_dot, ETA * hessian @ (m * q) - 2 * m * q, atol=1e-15)
    mean = 0.5 * (valley_gradient(w + m * q) + valley_gradient(w - m * q))
    np.testing.assert_allclose(velocity[0], -ETA * mean, atol=1e-15)


def test_the_central_flows_variance_is_the_mean_over_a_swing_of_self_stabilisation():
    """Over any closed orbit of ȧ = ηUa, U̇ = η(α − ½βa²) the mean of a² is 2α/β = −2⟨∇S, ∇E⟩/|∇S|² at the edge."""
    valley = Valley(0.0, 0.01)  # symmetric: at (0, 2/η) ∇S = (0, 1) exactly
    point = np.array([0.0, EDGE])
    flow = solvers.SelfStabilization.from_objective(valley, point, ETA)
    run = solvers.solve(flow, valley, np.array([0.3, EDGE]), 800)
    a2 = np.array([flow.amplitudes(valley, u)[0] ** 2 for u in run.fluctuations])
    y = run.centers[:, 1]
    peaks = argrelmax(y, order=40)[0]
    mean = np.mean(a2[peaks[0] : peaks[-1]])
    slope = valley.third(point, np.array([1.0, 0.0]))  # ∇S, of the top eigenvector
    expected = -2 * slope @ valley.gradient(point) / (slope @ slope)
    assert expected == pytest.approx(0.02, rel=1e-12)
    assert mean == pytest.approx(expected, rel=0.01)
    assert np.ptp(a2) > 2 * expected  # it swings


# --- what it costs ---------------------------------------------------------------------------------


class Counted:
    """An objective that counts its evaluations."""

    def __init__(self, objective):
        self.objective, self.calls = objective, {"gradient": 0, "hvp": 0, "third": 0}

    def value(self, x):
        return self.objective.value(x)

    def gradient(self, x):
        self.calls["gradient"] += 1
        return self.objective.gradient(x)

    def hvp(self, x, v):
        self.calls["hvp"] += 1
        return self.objective.hvp(x, v)

    def third(self, x, u):
        self.calls["third"] += 1
        return self.objective.third(x, u)


@pytest.mark.parametrize(
    ("flow", "gradients", "products", "thirds"),
    [
        (solvers.GradientDescent(ETA), 1, 0, 0),
        (solvers.GradientFlow(ETA, delay=True), 4, 0, 0),
        (solvers.FreeEnergyFlow(ETA, delay=True), 8, 0, 0),
        (solvers.RodFlow(ETA), 12, 14, 0),
        (solvers.CentralFlow(ETA), 2, None, 2),
    ],
    ids=repr,
)
def test_what_an_iteration_costs(flow, gradients, products, thirds):
    """The table of docs/theory/schemes.md, from step 10 to 20 at the edge, where |u| is far above rounding."""
    counts = []
    for steps in (10, 20):
        objective = Counted(Valley())
        solvers.solve(flow, objective, np.array([0.2, 6.7]), steps, save_every=steps)
        counts.append(objective.calls)
    per_step = {key: (counts[1][key] - counts[0][key]) / 10 for key in counts[0]}
    assert per_step["gradient"] == gradients
    assert products is None or per_step["hvp"] == products
    assert per_step["third"] == thirds


# --- mini-batches ----------------------------------------------------------------------------------


class Targets:
    """E = mean over i of ½λ(x − a_i)², with its parts."""

    def __init__(self, curvature, targets):
        self.curvature, self.targets = curvature, targets
        self.samples = len(targets)

    def batch(self, indices):
        return Targets(self.curvature, self.targets[indices])

    def value(self, x):
        return 0.5 * self.curvature * float(np.mean((x[0] - self.targets) ** 2))

    def gradient(self, x):
        return self.curvature * (x - self.targets.mean())

    def hvp(self, x, v):
        return self.curvature * v


@pytest.mark.parametrize("product", [0.5, 1.6])
def test_the_fluctuation_of_mini_batches_at_rest(product):
    """Var u = η²c/(2(2 − ηλ)) for gradients of variance c, here λ² Var(a)/B. The relative error of a mean of n squares of an
    oscillation of correlation ρ = (1 − ηλ)² is √(2(1 + ρ)/((1 − ρ)n)); four of them."""
    targets, size, steps = np.array([-1.0, 0.2, 0.3, 0.5]), 2, 3_000
    flow = solvers.MiniBatch(solvers.GradientDescent(product), size, seed=1, replacement=True)
    run = solvers.solve(flow, Targets(1.0, targets), np.zeros(1), steps)
    measured = np.mean(run.fluctuation_trace[100:])
    expected = product**2 * targets.var() / size / (2 * (2 - product))
    rho = (1 - product) ** 2
    assert measured == pytest.approx(expected, rel=4 * np.sqrt(2 * (1 + rho) / (1 - rho) / steps))
