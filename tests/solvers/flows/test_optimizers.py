"""Optimizers with a memory: PyTorch's conventions step by step, values to many digits, the exact split, their thresholds."""

import math

import numpy as np
import pytest

import solvers
from tests.helpers.landscapes import Quadratic, Valley

torch = pytest.importorskip("torch")

RATE = 0.05
STEPS = 500
# rounding grows by at most a few per step where the iteration is stable
PER_STEP = 1e-12


def quadratic(curvatures):
    """E(x) = ½ Σ s_i x_i²."""
    return Quadratic(np.diag(curvatures))


class SmoothNetwork:
    """A small loss whose gradient PyTorch gives, for both sides alike."""

    inputs = torch.linspace(-1, 1, 7, dtype=torch.float64)[:, None]
    targets = torch.sin(2 * inputs)

    @classmethod
    def loss(cls, w):
        hidden = torch.tanh(cls.inputs * w[:4] + w[4:8])
        return 0.5 * ((hidden @ w[8:, None] - cls.targets) ** 2).mean()

    def value(self, x):
        return float(self.loss(torch.from_numpy(x)))

    def gradient(self, x):
        w = torch.from_numpy(x.copy()).requires_grad_()
        return torch.autograd.grad(self.loss(w), w)[0].numpy()


START = np.random.default_rng(0).normal(size=12)

PEERS = [
    (solvers.HeavyBall(RATE, 0.9), lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.9)),
    (solvers.HeavyBall(RATE, 0.0), lambda p: torch.optim.SGD(p, lr=RATE)),
    (
        solvers.Nesterov(RATE, 0.8),
        lambda p: torch.optim.SGD(p, lr=RATE, momentum=0.8, nesterov=True),
    ),
    (
        solvers.RMSProp(RATE, 0.9, eps=1e-3),
        lambda p: torch.optim.RMSprop(p, lr=RATE, alpha=0.9, eps=1e-3),
    ),
    (
        solvers.RMSProp(RATE, 0.99, eps=1e-7, bias_correction=True),
        lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.0, 0.99), eps=1e-7),
    ),
    (solvers.Adam(RATE), lambda p: torch.optim.Adam(p, lr=RATE)),
    (
        solvers.Adam(RATE, 0.5, 0.9, eps=1e-4),
        lambda p: torch.optim.Adam(p, lr=RATE, betas=(0.5, 0.9), eps=1e-4),
    ),
]


@pytest.mark.parametrize(
    "steps", [50, pytest.param(STEPS, marks=[pytest.mark.slow, pytest.mark.essential])]
)
@pytest.mark.parametrize(("flow", "peer"), PEERS, ids=lambda one: getattr(one, "name", ""))
def test_every_step_is_that_of_pytorch(flow, peer, steps):
    """PyTorch's optimizer is put at our iterate before every step, so that rounding does not accumulate in x."""
    solution = solvers.solve(flow, SmoothNetwork(), START, steps=steps)
    w = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = peer([w])
    for iterate, following in zip(solution.iterates, solution.iterates[1:], strict=False):
        with torch.no_grad():
            w.copy_(torch.from_numpy(iterate.copy()))
        optimizer.zero_grad()
        SmoothNetwork.loss(w).backward()
        optimizer.step()
        np.testing.assert_allclose(w.detach().numpy(), following, rtol=0, atol=PER_STEP)


def test_one_mean_for_all_entries_is_pytorchs_in_one_dimension():
    """Put at our iterate before every step, as above."""
    flow = solvers.ScalarRMSProp(RATE, 0.9, eps=1e-3)
    solution = solvers.solve(flow, quadratic([3.0]), np.array([1.0]), steps=STEPS)
    w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.RMSprop([w], lr=RATE, alpha=0.9, eps=1e-3)
    for iterate, following in zip(solution.iterates, solution.iterates[1:], strict=False):
        with torch.no_grad():
            w.copy_(torch.from_numpy(iterate.copy()))
        optimizer.zero_grad()
        (1.5 * w**2).sum().backward()
        optimizer.step()
        np.testing.assert_allclose(w.detach().numpy(), following, rtol=0, atol=PER_STEP)


@pytest.mark.parametrize(
    ("step", "x"),
    [
        (10, (0.027270120, 7.995327169)),
        (100, (0.174741007, 7.893219484)),
        (1000, (0.120392418, 8.002423891)),
    ],
)
def test_heavy_ball_in_the_valley(step, x):
    """Iterates computed with 60 digits."""
    flow = solvers.HeavyBall(0.3, momentum=0.2)
    solution = solvers.solve(flow, Valley(1.0, 0.01), np.array([0.02, 7.96]), steps=step)
    np.testing.assert_allclose(solution.iterates[-1], x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("step", "x", "nu"),
    [
        (100, (-0.010199463, 6.318956952), 0.028408845),
        (1000, (-0.024497187, 8.647483937), 0.046636204),
    ],
)
def test_scalar_rmsprop_in_the_valley(step, x, nu):
    """Iterates and mean computed with 60 digits."""
    flow = solvers.ScalarRMSProp(0.05, beta2=0.99, second_moment=0.0225)
    solution = solvers.solve(flow, Valley(0.0, 0.01), np.array([1e-3, 6.0]), steps=step)
    np.testing.assert_allclose(solution.iterates[-1], x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(solution.state.values[0, 1], nu, rtol=0, atol=1e-9)


ALL = [
    solvers.HeavyBall(0.3, 0.3),
    solvers.Nesterov(0.3, 0.3),
    solvers.ScalarRMSProp(0.05, second_moment=0.04),
    solvers.RMSProp(0.005, eps=0.1, second_moment=1e-2),
    solvers.Adam(0.01),
]
# y at the start, where the sharpness is y + 3ζx: about half below the edge
START_OF = {"heavy_ball": 8.5, "nesterov": 5.2, "scalar_rmsprop": 6.0, "rmsprop": 4.0, "adam": 6.0}


@pytest.mark.parametrize("flow", ALL, ids=lambda flow: flow.name)
def test_center_and_fluctuation_follow_the_exact_split(flow):
    """c and u are moved by the split's own equations, with V at c ± u, and stay those of the optimizer."""
    objective, steps = Valley(1.0, 0.01), 1000
    # not far below the edge: the spike would multiply rounding by its own growth
    solution = solvers.solve(flow, objective, np.array([0.02, START_OF[flow.name]]), steps=steps)

    def change(step, z):
        return flow.update(objective, step, z) - z

    z = np.stack([solution.iterates[0], *flow.memory(solution.iterates[0])])
    first = change(0, z)
    c, u = z + 0.5 * first, -0.5 * first
    for k in range(steps):
        sign = 1 if k % 2 == 0 else -1
        at, following = change(k, c + sign * u), change(k + 1, c - sign * u)
        c, u = c + 0.5 * (at + following), -u - sign * 0.5 * (at - following)
        np.testing.assert_allclose(c[0], solution.centers[k + 1], rtol=0, atol=1e-10)
        np.testing.assert_allclose(u[0], solution.fluctuations[k + 1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kind", [solvers.HeavyBall, solvers.Nesterov])
def test_momentum_diverges_just_above_its_threshold(kind, beta):
    flow = kind(0.1, beta)
    for factor, grows in ((1.001, True), (0.999, False)):
        curvature = factor * flow.edge / 0.1
        steps = 5_000
        solution = solvers.solve(
            flow, quadratic([curvature]), np.array([1e-6]), steps=steps, save_every=steps
        )
        assert (abs(solution.iterates[-1, 0]) > 1e-6) == grows


ROOT, NEAR_ONE = 0.2, 1 - 2.0**-53


@pytest.mark.parametrize(
    ("flow", "edge"),
    [
        (solvers.ScalarRMSProp(RATE, NEAR_ONE, eps=ROOT), 2),
        (solvers.RMSProp(RATE, NEAR_ONE, eps=ROOT), 2),
        (solvers.Adam(RATE, 0.0, NEAR_ONE, eps=ROOT, bias_correction=False), 2),
        (solvers.Adam(RATE, 0.5, NEAR_ONE, eps=ROOT, bias_correction=False), 6),
        (solvers.Adam(RATE, 0.9, NEAR_ONE, eps=ROOT, bias_correction=False), 38),
    ],
    ids=repr,
)
def test_adaptive_rules_diverge_just_above_their_threshold(flow, edge):
    """At β₂ ≈ 1 the mean of squares stays at its start, so the rule is linear: its multiplier is compared with the threshold."""
    assert flow.edge == pytest.approx(edge, rel=1e-14)
    for factor, grows in ((1.001, True), (0.999, False)):
        curvature = factor * edge * ROOT / RATE
        solution = solvers.solve(
            flow, quadratic([curvature]), np.array([1e-100]), steps=2_000, save_every=1_000
        )
        _, half, end = np.abs(solution.iterates[:, 0])
        assert (end > half) == grows and end < 1e-20


def test_effective_sharpness_is_one_at_the_threshold():
    x = np.array([1.0, 1.0])
    curvatures = [3.0, 1.0]
    for flow in (solvers.HeavyBall(0.1, 0.5), solvers.Nesterov(0.1, 0.5)):
        objective = quadratic(np.array(curvatures) * flow.edge / 0.3)
        state = solvers.solve(flow, objective, x, steps=0).state
        assert solvers.effective_sharpness(flow, objective, state) == pytest.approx(1.0, rel=1e-9)
    state = solvers.solve(solvers.GradientDescent(0.5), quadratic(curvatures), x, steps=0).state
    assert solvers.effective_sharpness(
        solvers.GradientDescent(0.5), quadratic(curvatures), state
    ) == pytest.approx(0.75)


def test_effective_sharpness_of_a_preconditioner_of_several_entries():
    """λ₁(P⁻¹H)/2 by the full matrices."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(5, 5))
    hessian = root @ root.T

    class Bowl:
        def value(self, x):
            return 0.5 * float(x @ hessian @ x)

        def gradient(self, x):
            return hessian @ x

        def hvp(self, x, v):
            return hessian @ v

    flow = solvers.RMSProp(0.01, beta2=0.9, eps=1e-3)
    state = solvers.solve(flow, Bowl(), rng.normal(size=5), steps=3).state
    p = (np.sqrt(state.values[1, 1]) + 1e-3) / 0.01
    expected = np.linalg.eigvals(hessian / p[:, None]).real.max() / 2
    assert solvers.effective_sharpness(flow, Bowl(), state) == pytest.approx(expected, rel=1e-5)


def test_no_gradient_seen_moves_nothing():
    """0/√0 is 0: an entry on which E does not depend stays."""
    flow = solvers.RMSProp(0.1, eps=0.0)
    solution = solvers.solve(flow, quadratic([1.0, 0.0]), np.array([1.0, 2.0]), steps=5)
    assert np.all(solution.iterates[:, 1] == 2.0) and np.isfinite(solution.iterates).all()
    assert math.isnan(solvers.effective_sharpness(flow, quadratic([1.0, 0.0]), solution.state))


@pytest.mark.parametrize("flow", ALL, ids=lambda flow: flow.name)
def test_a_run_that_is_cut_goes_on_bit_for_bit(flow):
    objective, x = Valley(1.0, 0.01), np.array([0.02, 6.0])
    whole = solvers.solve(flow, objective, x, steps=40)
    half = solvers.solve(flow, objective, x, steps=15)
    rest = solvers.solve(flow, objective, half.state, steps=25)
    assert np.array_equal(rest.state.values, whole.state.values)


@pytest.mark.parametrize(("flow", "peer"), PEERS, ids=lambda one: getattr(one, "name", ""))
def test_a_rate_that_changes_is_that_of_pytorchs_parameter_groups(flow, peer):
    pairs = [[0, RATE], [7, 0.5 * RATE], [13, 0.1 * RATE]]
    scheduled = solvers.Scheduled(flow, pairs)
    solution = solvers.solve(scheduled, SmoothNetwork(), START, steps=20)
    w = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = peer([w])
    for k, following in enumerate(solution.iterates[1:]):
        optimizer.param_groups[0]["lr"] = [rate for step, rate in pairs if step <= k][-1]
        optimizer.zero_grad()
        SmoothNetwork.loss(w).backward()
        optimizer.step()
        np.testing.assert_allclose(w.detach().numpy(), following, rtol=0, atol=20 * PER_STEP)


@pytest.mark.parametrize("flow", ALL, ids=lambda flow: flow.name)
def test_single_precision_stays_single(flow):
    solution = solvers.solve(
        flow, quadratic(np.array([1.0, 2.0], np.float32)), np.ones(2, np.float32), steps=5
    )
    assert solution.state.values.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            solvers.HeavyBall,
            {"momentum": 1.0},
            "momentum must be a finite number of at least 0 and below 1",
        ),
        (
            solvers.Nesterov,
            {"momentum": -0.1},
            "momentum must be a finite number of at least 0 and below 1",
        ),
        (
            solvers.RMSProp,
            {"beta2": 1.0},
            "beta2 must be a finite number of at least 0 and below 1",
        ),
        (solvers.ScalarRMSProp, {"eps": -1e-8}, "eps must be a finite number of at least 0"),
        (solvers.Adam, {"beta1": math.nan}, "beta1 must be"),
        (solvers.Adam, {"bias_correction": "yes"}, "bias_correction must be"),
    ],
)
def test_parameters_out_of_range(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(0.1, **options)
