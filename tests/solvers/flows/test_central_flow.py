"""The central flow with several modes, against references that share no code with it. One mode: tests/literature."""

import numpy as np
import pytest

import solvers
from tests.convergence.references import dop853
from tests.helpers.landscapes import Quadratic, SharedRiver, Valley, WithoutThird

ETA, EDGE = 0.3, 2 / 0.3
RIVER = SharedRiver()
NEAR = RIVER.point([0.02, 0.05, -0.03], [6.66, 0.0015, 0.001, 0.0, -0.001, 0.0005])


class Counting:
    """An objective that counts what is asked of it."""

    def __init__(self, objective):
        self.objective, self.products, self.thirds = objective, 0, 0
        self.value, self.gradient = objective.value, objective.gradient

    def hvp(self, x, v):
        self.products += 1
        return self.objective.hvp(x, v)

    def third(self, x, u):
        self.thirds += 1
        return self.objective.third(x, u)


def dense(objective, w):
    return np.array([objective.hvp(w, e) for e in np.eye(len(w))])


def turns_at(w, vectors):
    """∇³E[v_i, v_j] by polarisation."""
    sums = [[RIVER.third(w, a + b) - RIVER.third(w, a - b) for b in vectors] for a in vectors]
    return 0.25 * np.array(sums)


def held_covariance(w):
    """X and the velocity of three modes that all stay at 2/η: ⟨∇³E[v_i, v_j], ∇E + ½ Σ X_kl ∇³E[v_k, v_l]⟩ = 0."""
    turns = turns_at(w, np.linalg.eigh(dense(RIVER, w))[1][:, -3:].T).reshape(9, -1)
    gradient = RIVER.gradient(w)
    x = -np.linalg.lstsq(0.5 * turns @ turns.T, turns @ gradient, rcond=1e-10)[0]
    assert np.linalg.eigvalsh(x.reshape(3, 3))[0] > 0
    return x.reshape(3, 3), -ETA * (gradient + 0.5 * x @ turns)


@pytest.fixture(scope="module")
def on_edge():
    """A point where the three largest eigenvalues are 2/η to rounding, off the axes."""
    x = np.array([0.0016, 0.0014, 0.0015])  # near the floor, ε/(2/η)
    s = np.array([EDGE, 0.0, 0.0, 0.0, 0.0, 0.0])
    for _ in range(20):  # Newton's method in s, which the eigenvalues follow as S(s) + …
        w = RIVER.point(x, s)
        values, vectors = np.linalg.eigh(dense(RIVER, w))
        v = vectors[:, -3:].T
        misfit = np.diag(values[-3:]) - EDGE * np.eye(3)
        turns = turns_at(w, v).reshape(9, -1) @ RIVER._rotation[:, 3:9]
        s = s - np.linalg.lstsq(turns, misfit.ravel(), rcond=1e-10)[0]
    assert np.abs(misfit).max() < 1e-13 * EDGE
    return w


def started_at(flow, w):
    """A state at this center, with nothing else known."""
    values = flow.start(RIVER, w)
    values[0] = w
    return solvers.State(0, values, np.nan)


@pytest.mark.slow
def test_three_modes_held_together_converge_at_order_two(on_edge, monkeypatch):
    """With all three at 2/η the flow is an ordinary differential equation, whose X is that of a linear system."""
    monkeypatch.setattr("solvers.flows.central_flow._TOLERANCE", 1e-10)
    steps, dts = 8, [1, 1 / 2, 1 / 4, 1 / 8]
    exact = dop853(lambda w: held_covariance(w)[1], on_edge, steps)
    trace = np.trace(held_covariance(exact)[0])
    flow = solvers.CentralFlow(ETA, max_modes=3)
    errors, misses = [], []
    for dt in dts:
        run = solvers.solve(flow, RIVER, started_at(flow, on_edge), steps, dt=dt)
        assert run.status == "complete"
        errors.append(np.abs(run.centers[-1] - exact).max())
        misses.append(abs(run.fluctuation_trace[-1] - trace))
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] == pytest.approx(2.0, abs=0.2)
    # tr Σ is at its value at rest, nearly, whatever dt: a shorter dt is closer still
    assert np.all(np.diff(misses) < 0) and misses[0] < 1e-4 * trace


def test_the_covariance_is_that_of_the_center_it_is_shown_with(on_edge):
    """At the edge, and for any dt, X is that of the linear system at that center: at the start and wherever the run is."""
    flow = solvers.CentralFlow(ETA, max_modes=3)
    for dt in (1.0, 0.25):
        run = solvers.solve(flow, RIVER, started_at(flow, on_edge), 3, dt=dt)
        x, velocity = held_covariance(on_edge)
        assert run.fluctuation_trace[0] == pytest.approx(np.trace(x), rel=1e-6)
        u = run.fluctuations[0]
        variances = np.sort(np.sum(u**2, axis=1))
        np.testing.assert_allclose(variances, np.linalg.eigvalsh(x), rtol=1e-5)
        # and so are the steps, to second order
        exact = dop853(lambda w: held_covariance(w)[1], on_edge, 3)
        turned = np.abs(on_edge + 3 * velocity - exact).max()
        assert np.abs(run.centers[3] - exact).max() < 0.05 * dt**2 * turned
        predicted = RIVER.value(run.centers[0]) + np.trace(x) / ETA
        assert run.predicted_losses[0] == pytest.approx(predicted, rel=1e-6)


@pytest.mark.parametrize("dt", [1.0, 0.5, 0.25, 0.125])
def test_a_state_solves_its_own_complementarity_problem(dt):
    """Of one mode in closed form: X = max(0, −2(slack/(η dt) + ⟨∇S, ∇E⟩)/|∇S|²), at every center of a run with its dt."""
    valley = Valley()
    run = solvers.solve(solvers.CentralFlow(ETA), valley, np.array([0.1, 6.6]), 40, dt=dt)
    for w, trace in zip(run.centers, run.fluctuation_trace, strict=True):
        values, vectors = np.linalg.eigh(dense(valley, w))
        slope = valley.third(w, vectors[:, -1])
        a = (EDGE - values[-1]) / (ETA * dt) + slope @ valley.gradient(w)
        assert trace == pytest.approx(max(0.0, -2 * a / (slope @ slope)), rel=1e-9, abs=1e-12)
    assert run.fluctuation_trace[-1] > 0


@pytest.mark.slow
@pytest.mark.essential
def test_three_modes_come_at_the_default_tolerance_as_at_any(monkeypatch):
    """tr Σ within 0.1 % of a run with eigenpairs to 1e-10, while the modes reach the edge one by one and stay there."""
    flow = solvers.CentralFlow(ETA)
    objective = Counting(RIVER)
    run = solvers.solve(flow, objective, NEAR, 24)
    # two points of twenty-four steps: a block of four, and every so often what tells that there is no fifth
    assert objective.products < 8 * 48
    monkeypatch.setattr("solvers.flows.central_flow._TOLERANCE", 1e-10)
    precise = solvers.solve(flow, RIVER, NEAR, 24)
    np.testing.assert_allclose(run.fluctuation_trace, precise.fluctuation_trace, rtol=1e-3)
    np.testing.assert_allclose(run.predicted_losses, precise.predicted_losses, rtol=0, atol=1e-4)
    top = np.linalg.eigvalsh(dense(RIVER, run.centers[-1]))[-4:]
    np.testing.assert_allclose(ETA * top[1:], 2.0, atol=1e-6)
    assert ETA * top[0] < 1.0
    assert np.count_nonzero(run.fluctuations[-1].any(axis=1)) == 3
    # at rest Σ = (2ε/3) I
    assert run.fluctuation_trace[-1] == pytest.approx(2 * RIVER.epsilon, rel=1e-3)


@pytest.mark.parametrize("others", [51, 12])  # by Lanczos' method, and by the whole Hessian
def test_modes_that_cannot_reach_the_edge_cost_nothing(others):
    """Three within 5 % of 2/η, of which one is held there: its ∇³E[v, v] is all that is needed."""
    river = SharedRiver(others=others)
    objective = Counting(river)
    start = river.point([0.02, 0.0, 0.0], [6.5, 0.04, 0.0, 0.0, 0.0, 0.0])
    thirds = []
    run = solvers.solve(
        solvers.CentralFlow(ETA),
        objective,
        start,
        20,
        observe=lambda o: thirds.append(objective.thirds),
    )
    values = ETA * np.linalg.eigvalsh(dense(river, run.centers[-1]))
    assert np.count_nonzero(values > 1.9) >= 2
    assert np.count_nonzero(run.fluctuations[-1].any(axis=1)) <= 1
    assert thirds[-1] - thirds[-2] == 2  # one at either point of the step


@pytest.mark.slow
@pytest.mark.essential
def test_a_symmetric_pair_is_held_by_both():
    """Two equal modes that reach the edge together: the eigenspace is one of dimension two all along."""

    class Pair:
        """E = ½ y |x|² − ε y + ½ b·p² of x (2,), y, p (40,)."""

        b = np.linspace(0.0, 3.0, 40)

        def value(self, w):
            return 0.5 * w[2] * w[:2] @ w[:2] - 0.01 * w[2] + 0.5 * self.b @ w[3:] ** 2

        def gradient(self, w):
            return np.concatenate([w[2] * w[:2], [0.5 * w[:2] @ w[:2] - 0.01], self.b * w[3:]])

        def hvp(self, w, v):
            across = w[2] * v[:2] + v[2] * w[:2]
            return np.concatenate([across, [w[:2] @ v[:2]], self.b * v[3:]])

        def third(self, w, u):
            return np.concatenate([2 * u[2] * u[:2], [u[:2] @ u[:2]], np.zeros(40)])

    start = np.zeros(43)
    start[2] = 6.6
    run = solvers.solve(solvers.CentralFlow(ETA), Pair(), start, 120)
    assert run.status == "complete"
    # y stays at 2/η: tr Σ = 2ε, of either mode what it may
    assert run.centers[-1][2] == pytest.approx(EDGE, abs=1e-9)
    assert run.fluctuation_trace[-1] == pytest.approx(0.02, rel=1e-9)
    values = np.linalg.eigvalsh(dense(Pair(), run.centers[-1]))
    np.testing.assert_allclose(values[-2:], EDGE, rtol=1e-9)


def test_a_mode_that_jumps_to_the_edge_is_seen():
    """Where eigenvalues change by more than the watch allows for, it is made certain again at every step."""
    river = SharedRiver(epsilon=0.3)
    run = solvers.solve(
        solvers.CentralFlow(ETA), river, RIVER.point(np.zeros(3), 5.5 * np.eye(6)[0]), 24
    )
    assert run.status == "complete"
    for w in run.centers[8:]:
        assert ETA * np.linalg.eigvalsh(dense(river, w))[-1] < 2.1


def test_the_residual_is_that_of_the_steps_taken(on_edge):
    """Reported with every state, the start included, without an evaluation of its own."""
    flow, objective = solvers.CentralFlow(ETA), Counting(RIVER)
    seen = []

    def observe(o):
        before = objective.products, objective.thirds
        seen.append(o.diagnostics)
        assert (objective.products, objective.thirds) == before

    solvers.solve(flow, objective, NEAR, 12, dt=0.5, observe=observe)
    assert len(seen) == 13
    assert all(d["complementarity_residual"] <= 1e-8 for d in seen)
    assert seen[-1]["modes"] == 3


def test_a_run_goes_on_from_a_state_bit_for_bit():
    flow = solvers.CentralFlow(ETA)
    whole = solvers.solve(flow, RIVER, NEAR, 12)
    half = solvers.solve(flow, RIVER, NEAR, 5)
    rest = solvers.solve(flow, RIVER, half.state, 7)
    np.testing.assert_array_equal(whole.state.values, rest.state.values)
    np.testing.assert_array_equal(whole.fluctuations[5:], rest.fluctuations)


def test_single_precision_follows_double():
    """Σ is a quotient of slack, known to 1e-7·2/η, and η dt: some 1e-3 of it per step."""
    double = solvers.solve(solvers.CentralFlow(ETA), RIVER, NEAR, 12)

    class Single:
        value = RIVER.value

        def gradient(self, w):
            return RIVER.gradient(w).astype(w.dtype)

        def hvp(self, w, v):
            return RIVER.hvp(w, v).astype(w.dtype)

        def third(self, w, u):
            return RIVER.third(w, u).astype(w.dtype)

    single = solvers.solve(solvers.CentralFlow(ETA), Single(), NEAR.astype(np.float32), 12)
    assert single.status == "complete" and single.centers.dtype == np.float32
    np.testing.assert_allclose(single.centers[-1], double.centers[-1], rtol=0, atol=1e-4)


def test_third_derivatives_from_gradients_serve_several_modes():
    run, without = (
        solvers.solve(solvers.CentralFlow(ETA), objective, NEAR, 8)
        for objective in (RIVER, WithoutThird(RIVER))
    )
    np.testing.assert_allclose(without.centers[-1], run.centers[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(without.fluctuation_trace, run.fluctuation_trace, rtol=2e-3)


def test_states_of_another_layout_are_refused():
    """Those of version 0.1, and of another max_modes."""
    flow = solvers.CentralFlow(ETA)
    old = solvers.State(3, np.ones((2 + 8, 2)), np.nan)
    with pytest.raises(ValueError, match="x0 must be a state of CentralFlow"):
        solvers.solve(flow, Valley(), old, 1)
    other = solvers.solve(solvers.CentralFlow(ETA, max_modes=2), Valley(), np.array([0.1, 6.6]), 1)
    with pytest.raises(ValueError, match="x0 must be a state of CentralFlow"):
        solvers.solve(flow, Valley(), other.state, 1)
    with pytest.raises(ValueError, match="12 arrays, got one of 10"):
        flow.center(3, old.values)


def test_more_modes_than_allowed_end_the_run():
    run = solvers.solve(solvers.CentralFlow(ETA, max_modes=2), RIVER, NEAR, 12)
    assert run.status == "failed" and "max_modes must be at least 3" in run.message
    assert np.isfinite(run.centers).all() and np.isfinite(run.predicted_losses).all()


@pytest.mark.parametrize("size", [2, 30])
@pytest.mark.parametrize("top", [1.0, 5.0, 6.6, 9.0])
def test_at_a_minimum_it_stays(size, top):
    """Whether its sharpness is below, near or above 2/η: at rest nothing oscillates, unless it must fall and cannot."""
    matrix = np.diag(np.linspace(0.1, top, size))
    run = solvers.solve(solvers.CentralFlow(ETA), Quadratic(matrix), np.zeros(size), 5)
    assert run.status == ("complete" if top < EDGE else "failed")
    assert not run.centers.any() and not run.fluctuations.any()


def test_what_diverges_says_so():
    run = solvers.solve(solvers.CentralFlow(1.0), Quadratic(-1e3 * np.eye(30)), np.ones(30), 200)
    assert run.status == "diverged"
