"""Saddle steps of JKO against the kinetic equation's ODE, which SciPy solves, and against gradient descent's own fixed states.

The velocities are written out from the objective's gradients; of the package only these and the scheme are used.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

import solvers
from meanfield import Risk, RunConfig, TwoLayerNetwork, run
from meanfield.tasks import digits, teacher_student
from solvers import JKO, transport
from tests.helpers.landscapes import Quadratic, Valley
from tests.helpers.particle_energies import Wavy

EPS = np.finfo(float).eps


def velocity(objective, state, eta):
    """(−η ∂_w F, η ∂_u F) of F = ½(E(w + u) + E(w − u)) − |u|²/η."""
    w, u = state
    plus, minus = objective.gradient(w + u), objective.gradient(w - u)
    return np.stack([-0.5 * eta * (plus + minus), 0.5 * eta * (plus - minus) - 2 * u])


def free_energy(objective, w, u, eta, weights=None):
    p = np.full(len(w), 1 / len(w)) if weights is None else weights
    keywords = {} if weights is None else {"weights": weights}
    ends = objective.value(w + u, **keywords) + objective.value(w - u, **keywords)
    return 0.5 * ends - p @ np.sum(u**2, axis=1) / eta


def kinetic_ode(objective, state, eta, time):
    def flat(_, z):
        return velocity(objective, z.reshape(state.shape), eta).ravel()

    end = solve_ivp(flat, (0, time), state.ravel(), "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    return end.reshape(state.shape)


def joint(state):
    """Particles in (w, u) space, (N, 2D)."""
    return np.concatenate([state[0], state[1]], axis=1)


def march(scheme, objective, state, steps):
    taken = []
    for _ in range(steps):
        taken.append(scheme.step(objective, state))
        state = taken[-1].state
    return taken


# One point


def test_a_quadratic_has_a_closed_form():
    """w' = (I + τηA)⁻¹ w, u' = (I − τ(ηA − 2))⁻¹ u, down to fluctuations that only their own scale resolves."""
    rng = np.random.default_rng(0)
    matrix, eta, tau, identity = np.diag([3.0, 1.0, 0.2]), 0.7, 3.0, np.eye(3)
    for scale in (1.0, 1e-6):
        state = np.stack([rng.standard_normal(3), scale * rng.standard_normal(3)])
        step = JKO(tau, learning_rate=eta, saddle=True).step(Quadratic(matrix), state)
        w = np.linalg.solve(identity + tau * eta * matrix, state[0])
        u = np.linalg.solve(identity - tau * (eta * matrix - 2 * identity), state[1])
        # tol = 1e-8 of the speeds; and u is known to a few roundoffs of w, over the smallest rate 1 − τ(ηS − 2) = 0.7.
        assert step.state[0] == pytest.approx(w, abs=1e-7)
        assert step.state[1] == pytest.approx(u, abs=1e-7 * scale + 1e-14)
        assert step.plan_is_identity and step.converged and not step.message
        assert step.transport_parts == pytest.approx(np.sum((step.state - state) ** 2, axis=1))
        assert step.transport_cost == pytest.approx(sum(step.transport_parts))


def test_where_the_ascent_has_no_solution_the_step_is_shortened_and_says_so():
    """ηS − 2 = 0.5: τ = 4 asks for 1/(1 − 2) < 0; two steps of 2 stand at 1 still, four of 1 have a solution."""
    eta, state = 0.5, np.array([[0.1, 0.2], [0.3, 0.0]])
    energy = Quadratic(np.diag([5.0, 1.0]))
    step = JKO(4.0, learning_rate=eta, saddle=True).step(energy, state)
    assert step.substeps == 4 and step.rejected == 3
    assert "the ascent step of size 4 has no solution: τ(ηS − 2) = 2 is not below 1" in step.message
    assert step.step_size == 4.0 and step.converged
    assert step.state[1, 0] == pytest.approx(0.3 / (1 - 0.5) ** 4, rel=1e-6)
    assert step.state[0] == pytest.approx(state[0] / np.array([3.5, 1.5]) ** 4, abs=1e-7)
    with pytest.raises(
        solvers.JKOError, match=r"the ascent step of size 2 has no solution.* give a"
    ):
        JKO(4.0, learning_rate=eta, saddle=True, max_halvings=1).step(energy, state)


def test_the_growth_at_the_end_of_a_step_counts_too():
    """From ηS = 1.95 the valley's floor sharpens by 0.0009 a unit of time: ηS − 2 = 0.4 at the end of a step of 500."""
    state = np.array([[0.0, 6.5], [1e-3, 0.0]])
    step = JKO(500.0, learning_rate=0.3, saddle=True).step(Valley(), state)
    assert "the ascent step of size 500 has no solution" in step.message
    assert step.substeps > 1 and step.step_size == 500.0


def test_the_valley_is_implicit_euler():
    valley, eta, tau = Valley(), 0.3, 5.0
    state = np.array([[0.02, 6.7], [0.1, 0.01]])

    def equations(z):
        return z - state.ravel() - tau * velocity(valley, z.reshape(2, 2), eta).ravel()

    step = JKO(tau, learning_rate=eta, saddle=True).step(valley, state)
    solution = fsolve(equations, state.ravel(), xtol=1e-13).reshape(2, 2)
    assert step.state == pytest.approx(solution, abs=1e-9)
    residual = np.linalg.norm(equations(step.state.ravel())) / tau
    assert residual == pytest.approx(step.residual, abs=1e-15) and residual < 1e-9


def test_the_valley_is_steady_where_explicit_steps_explode():
    """At the fixed state of the kinetic ODE, (−0.002995, 6.67565) with u² = 0.01999, by steps of 50."""
    valley, eta = Valley(), 0.3
    start = np.array([[0.007, 6.72], [0.161, 0.0]])
    end = march(JKO(50.0, learning_rate=eta, saddle=True), valley, start, 40)[-1].state
    assert np.abs(velocity(valley, end, eta)).max() < 1e-12
    assert end[0] == pytest.approx([-0.002995, 6.67565], abs=1e-5)
    assert end[1] @ end[1] == pytest.approx(0.01999, abs=1e-5)


# Particles


@pytest.mark.parametrize("tau", [0.05, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_certificates_and_equations_hold_on_random_energies(seed, tau):
    rng = np.random.default_rng(seed)
    n, eta, p = 6, 0.2, rng.dirichlet(np.ones(6))
    energy = Wavy(seed, 2)
    state = np.stack([rng.standard_normal((n, 2)), 0.1 * rng.standard_normal((n, 2))])
    step = JKO(tau, learning_rate=eta, saddle=True).step(energy, state, weights=p)
    (w, u), (old_w, old_u) = step.state, state
    assert step.energy == pytest.approx(free_energy(energy, w, u, eta, p), rel=1e-12)
    assert step.energy_before == pytest.approx(free_energy(energy, *state, eta, p), rel=1e-12)
    assert all(c.holds for c in step.certificates)
    assert step.substeps == 1 and step.plan_is_identity
    parts = np.array([p @ np.sum((w - old_w) ** 2, axis=1), p @ np.sum((u - old_u) ** 2, axis=1)])
    assert step.transport_parts == pytest.approx(parts, rel=1e-12)
    down, up = parts / (2 * eta * tau)
    here, rounding = free_energy(energy, w, u, eta, p), 1e-13
    assert here + down <= free_energy(energy, old_w, u, eta, p) + rounding
    assert here - up >= free_energy(energy, w, old_u, eta, p) - rounding

    def gradient(x):
        return energy.gradient(x, p)

    weighted = type("Weighted", (), {"gradient": staticmethod(gradient)})
    left = step.state - state - tau * velocity(weighted, step.state, eta)
    residual = np.sqrt(np.sum(p @ np.sum(left**2, axis=2).T)) / tau
    assert residual == pytest.approx(step.residual, abs=1e-14) and residual < 1e-7


def test_two_halves_of_a_particle_move_as_the_particle():
    rng = np.random.default_rng(1)
    p, energy = rng.dirichlet(np.ones(7)), Wavy(3, 2)
    state = np.stack([rng.standard_normal((7, 2)), 0.1 * rng.standard_normal((7, 2))])
    scheme = JKO(0.3, learning_rate=0.5, saddle=True)
    whole = scheme.step(energy, state, weights=p)
    split = np.repeat(state, 2, axis=1)
    halves = scheme.step(energy, split, weights=np.repeat(p / 2, 2))
    assert halves.state == pytest.approx(np.repeat(whole.state, 2, axis=1), abs=1e-7)
    more = scheme.step(energy, state, weights=p, guess=split, guess_weights=np.repeat(p / 2, 2))
    assert more.state == pytest.approx(np.repeat(whole.state, 2, axis=1), abs=1e-7)
    assert not more.plan_is_identity and more.plan.sum(axis=0) == pytest.approx(p)


def test_the_growth_is_that_of_the_weighted_hessian():
    """ηS − 2 from all columns of ½(H₊ + H₋), of unequal weights; a step of 1.01 times its inverse is too long."""
    rng = np.random.default_rng(4)
    energy, p, eta = Wavy(4, 2), rng.dirichlet(np.ones(20)), 0.5
    w, u = rng.standard_normal((20, 2)), 0.1 * rng.standard_normal((20, 2))
    columns = []
    for e in np.eye(40).reshape(40, 20, 2):
        columns.append(0.5 * (energy.hvp(w + u, e, p) + energy.hvp(w - u, e, p)).ravel())
    growth = eta * np.linalg.eigvals(np.array(columns)).real.max() - 2
    assert growth > 0
    step = JKO(1.01 / growth, learning_rate=eta, saddle=True).step(energy, [w, u], weights=p)
    assert "τ(ηS − 2) = 1.01 is not below 1" in step.message and step.rejected > 0


def test_a_relabelled_guess_is_taken_back_by_the_plan():
    rng = np.random.default_rng(2)
    state = np.stack([rng.standard_normal((7, 2)), 0.1 * rng.standard_normal((7, 2))])
    scheme, energy, order = (
        JKO(0.05, learning_rate=0.5, saddle=True),
        Wavy(3, 2),
        rng.permutation(7),
    )
    plain = scheme.step(energy, state)
    step = scheme.step(energy, state, guess=state[:, order])
    assert step.state == pytest.approx(plain.state[:, order], abs=1e-7)
    assert step.plan.toarray() == pytest.approx(np.eye(7)[order] / 7)


def test_a_guess_that_leads_nowhere_does_not_matter():
    """Where Newton's method finds nothing from it, the step starts again from the old state."""
    rng = np.random.default_rng(2)
    state = np.stack([rng.standard_normal((7, 2)), 0.1 * rng.standard_normal((7, 2))])
    scheme, energy = JKO(0.05, learning_rate=0.5, saddle=True, max_iterations=4), Wavy(3, 2)
    plain = scheme.step(energy, state)
    step = scheme.step(energy, state, guess=state + 30 * rng.standard_normal(state.shape))
    assert plain.rejected == 0 and step.rejected == 1
    # Two halves of the step in place of the whole: both are within τ²|z̈|/2 of the flow.
    moved = np.abs(plain.state - state).max()
    assert step.state == pytest.approx(plain.state, abs=0.3 * moved)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.ones((3, 4, 2)), "state must have shape .2, N, D. or .2, D. .*got .3, 4, 2."),
        (np.ones((2, 0, 2)), "state must have shape .*got .2, 0, 2."),
        (np.full((2, 3, 2), np.nan), "state must be finite"),
    ],
)
def test_bad_states(state, message):
    with pytest.raises(ValueError, match=message):
        JKO(1.0, saddle=True).step(Wavy(0, 2), state)


# Two-layer networks


def iterates(risk, eta, width, steps):
    start = risk.network.initialize(width, 0)
    return solvers.solve(solvers.GradientDescent(eta), risk, start, steps)


def sharpness(risk, state):
    return solvers.top_eigenpairs(risk, state[0]).values[0]


@pytest.fixture(scope="module")
def at_the_edge():
    """20 neurons that have reached the edge of stability, ηS within 5% of 2."""
    risk, eta = Risk(TwoLayerNetwork(3), teacher_student(n=30, input_dim=3, noise=0.5)), 2.0
    run = iterates(risk, eta, 20, 50)
    state = np.stack([run.centers[-1], run.fluctuations[-1]])
    assert eta * sharpness(risk, state) == pytest.approx(2.0, rel=0.05)
    return risk, eta, state


@pytest.mark.slow
def test_w2_to_the_kinetic_ode_is_of_first_order_at_the_edge(at_the_edge):
    risk, eta, state = at_the_edge
    time, steps = 4.0, [4, 8, 16]
    exact = kinetic_ode(risk, state, eta, time)
    distances = []
    for m in steps:
        taken = march(JKO(time / m, learning_rate=eta, saddle=True), risk, state, m)
        assert all(c.holds for step in taken for c in step.certificates)
        assert all(step.plan_is_identity for step in taken)
        distances.append(transport.w2(joint(taken[-1].state), joint(exact)).distance)
    slope = -np.polyfit(np.log(steps), np.log(distances), 1)[0]
    print(f"W2 at τ = 1, 1/2, 1/4: {distances}, slope {slope:.3f}")
    assert slope == pytest.approx(1.0, abs=0.2)


def check_second_order(risk, eta, state, time, steps):
    """W2 of the law of weights and fluctuations to that of the ODE falls like τ²."""
    exact, distances = kinetic_ode(risk, state, eta, time), []
    for m in steps:
        scheme = JKO(time / m, learning_rate=eta, saddle=True)
        earlier, here = state, scheme.step(risk, state).state
        for _ in range(m - 1):
            step = scheme.step(risk, here, earlier=earlier)
            assert all(c.holds for c in step.certificates) and step.plan_is_identity
            earlier, here = here, step.state
        distances.append(transport.w2(joint(here), joint(exact)).distance)
    slope = -np.polyfit(np.log(steps), np.log(distances), 1)[0]
    print(f"W2 at τ = {time}/{steps}: {distances}, slope {slope:.3f}")
    assert slope == pytest.approx(2.0, abs=0.2)


@pytest.mark.slow
def test_steps_from_two_states_are_of_second_order_at_the_edge(at_the_edge):
    check_second_order(*at_the_edge, 4.0, [16, 32, 64])


@pytest.mark.slow
def test_the_flow_of_order_two_as_a_process_is_of_second_order_at_the_edge(at_the_edge, tmp_path):
    """`jko` with saddle = true and order = 2 as a process of a run, from its own start at the edge: w_0 = x_0 − u_0."""
    risk, eta, state = at_the_edge
    start = state[0] + state[1]
    u = 0.5 * eta * risk.gradient(start)
    exact = kinetic_ode(risk, np.stack([start - u, u]), eta, 4.0)
    dts, distances = [1 / 4, 1 / 8, 1 / 16], []
    for dt in dts:
        options = {"flow": "jko", "saddle": True, "order": 2, "dt": dt}
        config = RunConfig(learning_rate=eta, steps=4, processes={"movements": options})
        with run(config, tmp_path / str(dt), objective=risk, start=start) as result:
            last = result["movements"].snapshots[-1]
            assert np.nanmax(result["movements"].observables["certificate_excess"]) <= 1e-12
        end = np.stack([last.position, last.fluctuation])
        distances.append(transport.w2(joint(end), joint(exact)).distance)
    slope = np.polyfit(np.log(dts), np.log(distances), 1)[0]
    print(f"W2 at τ = 1/4, 1/8, 1/16: {distances}, slope {slope:.3f}")
    assert slope == pytest.approx(2.0, abs=0.2)


@pytest.mark.slow
def test_steps_from_two_states_are_of_second_order_on_digits():
    """A network of 8 neurons at the edge of stability, ηS within 5% of 2, on 50 images."""
    task, eta = digits(n=50), 2.0
    risk = Risk(TwoLayerNetwork(task.inputs.shape[1]), task)
    run = iterates(risk, eta, 8, 40)
    state = np.stack([run.centers[-1], run.fluctuations[-1]])
    assert eta * sharpness(risk, state) == pytest.approx(2.0, rel=0.05)
    check_second_order(risk, eta, state, 4.0, [16, 32, 64])


@pytest.fixture(scope="module")
def self_stabilised():
    """8 neurons that cannot fit their data: gradient descent itself comes to rest on a two-cycle w ± u, |u| = 0.137."""
    task = teacher_student(n=100, input_dim=2, noise=0.5)
    risk, eta = Risk(TwoLayerNetwork(2), task, weight_decay=0.01), 4.0
    run = iterates(risk, eta, 8, 2000)
    state = np.stack([run.centers[-1], run.fluctuations[-1]])
    assert np.abs(velocity(risk, state, eta)).max() < 1e-10
    assert np.sqrt(run.fluctuation_trace[-1]) > 0.1
    return risk, eta, state


def explicit_limit(risk, state, eta):
    """2 over the fastest rate of decay: beyond it explicit Euler is unstable."""
    h, columns = 1e-6, []
    for e in np.eye(state.size).reshape(-1, *state.shape):
        columns.append(velocity(risk, state + h * e, eta) - velocity(risk, state - h * e, eta))
    rates = np.linalg.eigvals(np.array(columns).reshape(state.size, -1).T / (2 * h))
    return 2 / np.max(-rates.real)


@pytest.mark.slow
def test_stable_ten_times_beyond_the_explicit_limit(self_stabilised):
    """Every mode of the fixed state decays by 1/(1 + τ rate) a step: the more, the longer the step."""
    risk, eta, fixed = self_stabilised
    tau = 10 * explicit_limit(risk, fixed, eta)
    assert tau == pytest.approx(
        10.0, rel=0.05
    )  # the fluctuations of modes without curvature decay at rate 2
    start = fixed + 0.02 * np.random.default_rng(0).standard_normal(fixed.shape)
    distance = [transport.w2(joint(start), joint(fixed)).distance]

    explicit = start
    for _ in range(5):
        explicit = explicit + tau * velocity(risk, explicit, eta)
    for step in march(JKO(tau, learning_rate=eta, saddle=True), risk, start, 25):
        assert all(c.holds for c in step.certificates) and not step.rejected
        distance.append(transport.w2(joint(step.state), joint(fixed)).distance)
    print(
        f"τ = {tau:.2f}: W2 {distance[0]:.4f} → {distance[-1]:.2e}, explicit {np.abs(explicit).max():.1e}"
    )
    assert np.abs(explicit - fixed).max() > 1e3 * np.abs(start - fixed).max()
    assert max(distance) == distance[0] and distance[-1] < 0.02 * distance[0]


@pytest.mark.slow
@pytest.mark.essential
def test_a_step_longer_than_the_growth_allows_is_shortened(at_the_edge):
    """In the spike before the edge, ηS − 2 > 1/τ."""
    risk, eta, _ = at_the_edge
    run = iterates(risk, eta, 20, 10)
    state, tau = np.stack([run.centers[-1], run.fluctuations[-1]]), 4.0
    assert eta * sharpness(risk, state) - 2 > 1 / tau
    step = JKO(tau, learning_rate=eta, saddle=True).step(risk, state)
    assert "has no solution" in step.message and step.rejected >= 1 and step.substeps >= 2
    assert step.converged and step.step_size == pytest.approx(tau, rel=1e-15)
    assert all(c.holds for c in step.certificates)
