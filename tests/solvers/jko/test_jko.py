"""Minimising movements against closed forms, and certificates recomputed from plain formulas and SciPy's transport."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, linprog, minimize
from scipy.spatial.distance import cdist
from scipy.stats import norm

from solvers import transport
from solvers.jko.particles.steps import JKO, JKOError
from tests.helpers.landscapes import Valley
from tests.helpers.particle_energies import AttractiveRepulsive, Quadratic, Wavy, WithoutHessian

EPS = np.finfo(float).eps


def cloud(n, dimension, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dimension))


def squared_w2(x, y, p, q):
    """By linear programming (HiGHS), whose optimum is good to about 1e-9 of the largest cost."""
    n, m = len(x), len(y)
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    constraints = np.vstack([rows, columns])
    cost = cdist(x, y, "sqeuclidean").ravel()
    return linprog(cost, A_eq=constraints, b_eq=np.concatenate([p, q])).fun


def velocity_residual(energy, step, old, tau, eta=1.0, old_weights=None):
    """RMS of η g_i + (x_i − ȳ_i)/τ."""
    p = step.weights
    plan = np.diag(p) if step.plan is None else step.plan.toarray()
    left = eta * energy.gradient(step.state, p) + (step.state - plan @ old / p[:, None]) / tau
    return np.sqrt(p @ np.sum(left**2, axis=1))


# Closed forms


@pytest.mark.parametrize("inner", ["newton-cg", "l-bfgs"])
@pytest.mark.parametrize("tau", [1e-3, 0.1, 1.0, 30.0])
def test_a_quadratic_potential_contracts_as_implicit_euler(tau, inner):
    x, eta = cloud(40, 3), 0.7
    step = JKO(tau, learning_rate=eta, inner=inner).step(Quadratic(), x)
    # The tolerance of the residual, 1e-8 of the speed η|x|, is one of the position, times τ/(1 + ητ).
    assert step.state == pytest.approx(
        x / (1 + eta * tau), abs=2e-8 * min(tau, 1) * np.abs(x).max()
    )
    assert step.converged and step.plan_is_identity and step.plan is None and not step.message
    assert step.transport_cost == pytest.approx(np.sum((step.state - x) ** 2) / 40, rel=1e-12)
    assert step.energy_before == pytest.approx(np.sum(x**2) / 80, rel=1e-14)


def test_quadratic_attraction_contracts_towards_the_mean():
    x, p, tau = cloud(30, 2), np.random.default_rng(1).dirichlet(np.ones(30)), 0.8
    step = JKO(tau).step(Quadratic(0.0, 1.5), x, weights=p)
    mean = p @ x
    assert step.state == pytest.approx(mean + (x - mean) / (1 + 1.5 * tau), abs=1e-7)


def test_attraction_and_repulsion_end_at_the_uniform_law():
    """In order, −|z| adds the force c_i = (2i − n − 1)/n: the step is linear, and the fixed points are mean + c_i."""
    n, tau = 40, 0.5
    x = cloud(n, 1)
    c = (2 * np.argsort(np.argsort(x[:, 0])) + 1 - n)[:, None] / n
    step = JKO(tau).step(AttractiveRepulsive(), x)
    assert step.state == pytest.approx((x + tau * (x.mean() + c)) / (1 + tau), abs=1e-7)
    for _ in range(60):  # the distance falls by 1/1.5 each time
        step = JKO(tau).step(AttractiveRepulsive(), step.state)
    assert step.state == pytest.approx(x.mean() + c, abs=1e-7)


@pytest.mark.parametrize(("tau", "error"), [(0.1, 0.0243), (0.05, 0.0124), (0.025, 0.0063)])
def test_ornstein_uhlenbeck_at_temperature_one(tau, error):
    """Of a Gaussian of deviation σ a step is the Gaussian with σ'(1 + τ) − τ/σ' = σ; after t = 1 from σ = 2 its error is known.

    50 particles are not quite Gaussian, but their energy of gaps has the exact balance of second moments: 1e-5 is ample.
    """
    quantiles = norm.ppf((np.arange(50) + 0.5) / 50)[:, None]
    x = 2.0 * quantiles / np.sqrt(np.mean(quantiles**2))
    gaussian = 2.0
    for _ in range(round(1 / tau)):
        step = JKO(tau, temperature=1.0).step(Quadratic(), x)
        assert all(c.holds for c in step.certificates) and step.plan_is_identity
        x = step.state
        gaussian = brentq(lambda s, g=gaussian: s * (1 + tau) - tau / s - g, 0.1, 3.0)
    deviation = np.sqrt(np.mean(x**2))
    exact = np.sqrt(1 + 3 * np.exp(-2.0))
    assert deviation == pytest.approx(gaussian, abs=1e-5)
    assert deviation - exact == pytest.approx(error, abs=6e-5)


class NegativeSecondMoment:
    """A stand-in for an entropy: −½ ∫|x|² dμ."""

    def value(self, x, weights=None):
        return -Quadratic().value(x, weights)

    def gradient(self, x, weights=None):
        return -Quadratic().gradient(x, weights)


def test_temperature_weighs_the_entropy_given():
    x, p = cloud(10, 2), np.full(10, 0.1)
    scheme = JKO(0.5, learning_rate=2.0, temperature=0.25, entropy=NegativeSecondMoment())
    step = scheme.step(Quadratic(), x, weights=p)
    assert step.state == pytest.approx(x / (1 + 0.5 * 2.0 * 0.75), abs=1e-7)
    assert step.energy == pytest.approx(0.75 * Quadratic().value(step.state), rel=1e-12)


def test_one_point_of_a_landscape():
    valley, x, tau = Valley(), np.array([0.3, 2.0]), 0.4
    step = JKO(tau).step(valley, x)
    assert step.state.shape == (2,) and step.weights == pytest.approx([1.0])
    assert step.state == pytest.approx(x - tau * valley.gradient(step.state), abs=1e-8)


def test_without_a_hessian_the_step_is_the_same():
    x, energy = cloud(12, 2), Wavy(0, 2)
    exact = JKO(0.3).step(energy, x)
    for inner in ("newton-cg", "l-bfgs", None):
        step = JKO(0.3, inner=inner).step(WithoutHessian(energy), x)
        assert step.state == pytest.approx(exact.state, abs=1e-7)


def test_single_precision_stays():
    x = cloud(20, 2).astype(np.float32)
    step = JKO(0.5).step(Quadratic(), x)
    assert step.state.dtype == np.float32
    assert step.state == pytest.approx(x / 1.5, abs=1e-6)


# Certificates


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 8),
    dimension=st.integers(1, 3),
    log_tau=st.floats(-3, 2),
    weighted=st.booleans(),
    hessian=st.booleans(),
)
def test_the_energy_inequality_and_the_optimality_condition_hold(
    seed, n, dimension, log_tau, weighted, hessian
):
    rng = np.random.default_rng(seed)
    x, eta, tau = rng.standard_normal((n, dimension)), 0.7, 10.0**log_tau
    p = rng.dirichlet(np.ones(n)) if weighted else None
    energy = Wavy(seed, dimension)
    scheme = JKO(tau, learning_rate=eta)
    step = scheme.step(energy if hessian else WithoutHessian(energy), x, weights=p)
    assert step.converged and step.step_size == pytest.approx(tau, rel=1e-15)
    assert all(c.holds for c in step.certificates)
    before, after = energy.value(x, step.weights), energy.value(step.state, step.weights)
    assert step.energy_before == before and step.energy == after
    # Exactly as promised, up to the roundoff of the terms …
    bound = before + 64 * EPS * (abs(before) + abs(after) + step.transport_cost / (2 * eta * tau))
    assert after + step.transport_cost / (2 * eta * tau) <= bound
    # … and the transport cost is W2², of a coupling at least as good as what linear programming finds.
    cost = squared_w2(step.state, x, step.weights, step.weights)
    size = cdist(step.state, x, "sqeuclidean").max()
    assert step.transport_cost >= cost - 1e-8 * size
    if step.substeps == 1:
        assert step.transport_cost == pytest.approx(cost, abs=1e-8 * size)
        residual = velocity_residual(energy, step, x, tau, eta)
        assert residual == pytest.approx(step.residual, abs=1e-14 + 1e-9 * residual)
        speed = eta * np.sqrt(step.weights @ np.sum(energy.gradient(x, p) ** 2, axis=1))
        assert residual <= 1.1e-8 * speed + 1e-13 * (1 + np.abs(x).max() / tau)


# Plans


def test_two_halves_of_a_particle_move_as_the_particle():
    rng = np.random.default_rng(3)
    x, p, energy = cloud(9, 2), rng.dirichlet(np.ones(9)), Wavy(5, 2)
    whole = JKO(0.4).step(energy, x, weights=p)
    halves = JKO(0.4).step(energy, np.repeat(x, 2, axis=0), weights=np.repeat(p / 2, 2))
    # Both solve the same equations to 1e-8 of the speed.
    assert halves.state == pytest.approx(np.repeat(whole.state, 2, axis=0), abs=1e-7)
    assert halves.energy == pytest.approx(whole.energy, abs=1e-12)
    assert halves.transport_cost == pytest.approx(whole.transport_cost, rel=1e-6)


def test_more_particles_than_before():
    """A guess that splits every particle lets the halves part; here they have no reason to."""
    x, energy = cloud(7, 2), Wavy(5, 2)
    one = JKO(0.4).step(energy, x)
    two = JKO(0.4).step(energy, x, guess=np.repeat(x, 2, axis=0))
    assert two.state.shape == (14, 2) and two.weights == pytest.approx(np.full(14, 1 / 14))
    assert not two.plan_is_identity and two.plan.shape == (14, 7)
    assert two.plan.sum(axis=0) == pytest.approx(np.full(7, 1 / 7), rel=1e-12)
    assert two.state == pytest.approx(np.repeat(one.state, 2, axis=0), abs=1e-7)
    assert all(c.holds for c in two.certificates)


def test_fewer_particles_than_before():
    """In ∫½|x|² the new particles are at ȳ/(1 + τ), whatever the plan; and the plan is optimal for them."""
    x, tau = cloud(30, 2), 0.5
    q = np.random.default_rng(2).dirichlet(np.ones(8))
    step = JKO(tau).step(Quadratic(), x, guess=cloud(8, 2, seed=4), guess_weights=q)
    plan = step.plan.toarray()
    assert plan.sum(axis=1) == pytest.approx(q, abs=1e-15)
    assert plan.sum(axis=0) == pytest.approx(np.full(30, 1 / 30), abs=1e-15)
    assert step.state == pytest.approx(plan @ x / q[:, None] / (1 + tau), abs=1e-7)
    least = squared_w2(step.state, x, q, np.full(30, 1 / 30))
    assert step.transport_cost == pytest.approx(least, abs=1e-8)
    assert step.outer_iterations > 1


class Swap:
    """Two potentials of a particle: the slope ½(ξ₁ − 2)² that carries it past a narrow well at (1, 0) in which another sits."""

    well, depth, width = np.array([1.0, 0.0]), 1.0, 0.1

    def value(self, x):
        hole = self.depth * np.exp(-0.5 * np.sum((x - self.well) ** 2, axis=1) / self.width**2)
        return np.mean(0.5 * (x[:, 0] - 2) ** 2 - hole)

    def gradient(self, x):
        z = x - self.well
        hole = self.depth * np.exp(-0.5 * np.sum(z**2, axis=1) / self.width**2)
        return np.column_stack([x[:, 0] - 2, np.zeros(len(x))]) + z * hole[:, None] / self.width**2


def test_particles_that_change_places():
    """One runs past another that is at rest in a well: it is cheaper that the latter runs on and the former takes its place."""
    tau, energy = 10.0, Swap()
    rest = brentq(lambda z: energy.gradient(np.array([[z, 0.0]]))[0, 0], 1.0, 1.05)
    x = np.array([[0.0, 0.5], [rest, 0.0]])
    step = JKO(tau).step(energy, x)
    assert not step.plan_is_identity
    assert step.plan.toarray() == pytest.approx(np.array([[0, 0.5], [0.5, 0]]))
    assert step.outer_iterations > 1 and step.converged
    # Each of the two new particles is a minimiser of its own, from its new partner.
    for particle, partner in ((step.state[0], x[1]), (step.state[1], x[0])):

        def functional(z, partner=partner):
            return energy.value(z[None]) + np.sum((z - partner) ** 2) / (2 * tau)

        nearby = minimize(functional, particle, method="Nelder-Mead", options={"xatol": 1e-9})
        assert nearby.x == pytest.approx(particle, abs=1e-6)
    swapped = np.mean(np.sum((step.state - x[::-1]) ** 2, axis=1))
    stayed = np.mean(np.sum((step.state - x) ** 2, axis=1))
    assert step.transport_cost == pytest.approx(swapped, rel=1e-12) and swapped < stayed
    assert energy.value(step.state) + swapped / (2 * tau) <= energy.value(x)


def test_a_guess_is_a_start_only():
    x, energy = cloud(12, 2), Wavy(1, 2)
    plain = JKO(0.1).step(energy, x)
    guessed = JKO(0.1).step(energy, x, guess=plain.state)
    assert guessed.state == pytest.approx(plain.state, abs=1e-8)
    assert guessed.inner_iterations < plain.inner_iterations
    far = JKO(0.1).step(energy, x, guess=x + 10.0)  # above E[x]: not taken
    assert far.state == pytest.approx(plain.state, abs=1e-12)


def test_relabelled_guess_gives_the_same_measure_and_names_the_plan():
    x, order = cloud(12, 2), np.random.default_rng(0).permutation(12)
    step = JKO(0.1).step(Quadratic(), x, guess=x[order])
    assert step.state == pytest.approx(x[order] / 1.1, abs=1e-8)
    assert step.plan.toarray() == pytest.approx(np.eye(12)[order] / 12)


def test_an_unsolved_plan_is_never_silent():
    x = cloud(30, 2)
    for require in (True, False):
        scheme = JKO(0.5, max_plan_iterations=3, require_convergence=require)
        with pytest.raises(transport.TransportError, match="max_plan_iterations"):
            scheme.step(Quadratic(), x, guess=cloud(31, 2, seed=1))


# Steps that must be shortened


class Wall(Quadratic):
    """½|x|² to the right of −1; to its left there is nothing."""

    def value(self, x, weights=None):
        return super().value(x, weights) if np.all(x > -1.0) else np.nan


class Kinked:
    """∫ |x − 0.3| dμ: no minimiser is critical."""

    def value(self, x):
        return np.mean(np.abs(x - 0.3))

    def gradient(self, x):
        return np.sign(x - 0.3)


def test_a_step_that_is_not_solved_is_covered_by_shorter_ones():
    """Newton's method is given one iteration, too few unless the step is short."""
    x, energy = cloud(6, 2), Wavy(11, 2)
    step = JKO(2.0, max_iterations=2).step(energy, x)
    assert step.rejected > 0 and step.substeps > 1 and "sub-steps" in step.message
    assert step.step_size == pytest.approx(2.0, rel=1e-15)
    assert len(step.certificates) == step.substeps and all(c.holds for c in step.certificates)
    assert step.energy + step.transport_cost / (2 * 2.0) <= step.energy_before
    assert step.transport_cost >= np.mean(np.sum((step.state - x) ** 2, axis=1))


def test_a_step_that_cannot_be_covered_raises_with_the_remedy():
    x = np.array([[0.25], [1.0]])
    with pytest.raises(JKOError, match="give a shorter step_size, more max_halvings"):
        JKO(1.0).step(Kinked(), x)
    step = JKO(1.0, require_convergence=False).step(Kinked(), x)
    assert not step.converged and "stopped after" in step.message
    assert step.step_size < 1.0 and all(c.holds for c in step.certificates)
    # What was covered before the first particle came to the kink, up to a shortest sub-step.
    assert step.state[0] == pytest.approx([0.25 + step.step_size], abs=1e-12)
    assert 0.05 - 1 / 256 <= step.step_size <= 0.05


def test_a_step_that_cannot_begin_returns_the_state():
    step = JKO(1.0, require_convergence=False, max_halvings=0).step(Kinked(), np.array([[0.25]]))
    assert step.state == pytest.approx(np.array([[0.25]])) and step.step_size == 0.0
    assert step.substeps == 0 and step.plan_is_identity and np.isnan(step.residual)


@pytest.mark.parametrize("inner", ["newton-cg", "l-bfgs"])
def test_where_the_energy_does_not_exist_the_step_turns_back(inner):
    step = JKO(1.0, inner=inner).step(Wall(), np.array([[4.0], [-0.9]]))
    assert step.state == pytest.approx(np.array([[2.0], [-0.45]]), abs=1e-7)


# Input


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_size": 0.0}, "step_size must be .*got 0.0"),
        ({"step_size": -1.0}, "step_size must be .*got -1.0"),
        ({"step_size": np.nan}, "step_size must be .*got nan"),
        ({"learning_rate": 0.0}, "learning_rate must be .*got 0.0"),
        ({"temperature": -0.1}, "temperature must be .*got -0.1"),
        ({"temperature": 0.1, "saddle": True}, "temperature must be 0 where saddle=True, got 0.1"),
        ({"inner": "newton"}, "inner must be .*got 'newton'"),
        ({"tol": 0.0}, "tol must be .*got 0.0"),
        ({"max_plans": 0}, "max_plans must be .*got 0"),
        ({"max_halvings": -1}, "max_halvings must be .*got -1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        JKO(**({"step_size": 1.0} | settings))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": [[np.nan, 0.0]]}, "state must be finite"),
        ({"state": np.empty((0, 2))}, r"state must have shape .*got \(0, 2\)"),
        ({"state": np.ones((2, 2, 2))}, r"state must have shape .N, D. or .*got \(2, 2, 2\)"),
        ({"weights": [0.5, 0.6]}, "weights must be at least 0 and sum to 1"),
        ({"weights": [1.5, -0.5]}, "weights must be at least 0 and sum to 1"),
        ({"weights": [1.0, 0.0]}, "weights must be above 0, got 1 that are 0 to rounding"),
        ({"weights": [1.0]}, "weights must have shape"),
        ({"guess": np.ones((2, 3))}, "guess must have particles of 2 coordinates, as the state"),
        ({"guess": np.ones(2)}, "guess must have particles of 2 coordinates, as the state"),
        ({"guess": np.full((2, 2), np.inf)}, "guess must be finite"),
        ({"guess": np.ones((3, 2)), "guess_weights": [0.5, 0.5]}, "guess_weights must have shape"),
        (
            {"guess_weights": [0.5, 0.5]},
            "guess_weights must be None where there is no guess, got .0.5, 0.5.",
        ),
    ],
)
def test_bad_measures(arguments, message):
    with pytest.raises(ValueError, match=message):
        JKO(1.0).step(Quadratic(), **({"state": np.eye(2)} | arguments))


def test_bad_objectives():
    with pytest.raises(ValueError, match="objective must be .* a method gradient, which JKO needs"):
        JKO(1.0).step(type("Swapless", (), {"value": lambda self, x: 0.0})(), np.eye(2))
    with pytest.raises(
        ValueError, match="weights must be None for .* particles of equal weight, got .* Swap"
    ):
        JKO(1.0).step(Swap(), np.eye(2), weights=[0.5, 0.5])
    with pytest.raises(ValueError, match="state must have a finite energy, got nan"):
        JKO(1.0).step(Wall(), np.array([[-2.0]]))
    flat = WithoutHessian(Quadratic())
    flat.gradient = lambda x: x[:, 0]
    with pytest.raises(ValueError, match="objective.gradient and objective.hvp must have shape"):
        JKO(1.0).step(flat, np.eye(2))


def test_particles_that_coincide_have_no_entropy():
    with pytest.raises(ValueError, match="state must have a finite energy, got inf"):
        JKO(1.0, temperature=1.0).step(Quadratic(), np.zeros((3, 1)))
