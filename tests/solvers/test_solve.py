import sys

import numba
import numpy as np
import pytest
from scipy.linalg import expm

import solvers
from meanfield import landscapes
from tests.helpers.landscapes import Quadratic, Valley

VALLEY, START = Valley(), np.array([0.1, 6.5])


@pytest.fixture
def hessian():
    root = np.random.default_rng(0).standard_normal((5, 5))
    return root @ root.T / 5


def test_gradient_descent_is_gradient_descent():
    run = solvers.solve(solvers.GradientDescent(0.3), VALLEY, START, steps=50)
    x = START
    for k in range(51):
        assert np.array_equal(run.iterates[k], x)
        x = x - 0.3 * VALLEY.gradient(x)
    signs = (-1.0) ** np.arange(51)[:, None]
    assert np.allclose(run.centers + signs * run.fluctuations, run.iterates, rtol=1e-15)
    assert np.allclose(
        run.centers[:-1] - (signs * run.fluctuations)[:-1], run.iterates[1:], rtol=1e-15
    )
    ends = 0.5 * (VALLEY.value(run.iterates[3]) + VALLEY.value(run.iterates[4]))
    assert run.predicted_losses[3] == pytest.approx(ends, rel=1e-15)


def test_gradient_flow_on_a_quadratic_is_the_matrix_exponential(hessian):
    x0 = np.ones(5)
    integrator = solvers.Adaptive(rtol=1e-10, atol=1e-13)
    run = solvers.solve(
        solvers.GradientFlow(0.3), Quadratic(hessian), x0, steps=10, integrator=integrator
    )
    assert np.allclose(run.centers[-1], expm(-3.0 * hessian) @ x0, rtol=0, atol=1e-8)
    assert np.all(run.fluctuations == 0)
    assert np.allclose(run.free_energies - run.free_energies[0], run.dissipated, rtol=0, atol=1e-8)


def test_the_gradient_flow_is_stable_whatever_the_sharpness():
    """ηS = 20: explicit steps of ½ would grow tenfold each; the flow decays, its loss never rises, its balance closes."""
    objective = Quadratic(np.diag([20.0, 1.0]))
    scheme = solvers.RKC(rtol=1e-6)
    run = solvers.solve(solvers.GradientFlow(1.0), objective, np.ones(2), 10, integrator=scheme)
    # down to ½e⁻²⁰, a hundred times what local errors of 1e-6 (1 + |w|) can make of the stiff coordinate
    assert np.all(np.diff(run.losses) < 0)
    assert np.allclose(run.centers[1:, 1], np.exp(-run.times[1:]), rtol=0, atol=2e-5)
    assert np.abs(run.free_energies - run.free_energies[0] - run.dissipated).max() < 1e-4


def test_a_linear_fluctuation_grows_like_its_mode(hessian):
    """On a quadratic u̇ = (ηH − 2)u exactly, whatever the closure: u(t) = exp((ηH − 2)t) u_0."""
    eta, x0 = 0.3, np.ones(5)
    u0 = 0.5 * eta * hessian @ x0
    for closure in ("endpoint", "taylor"):
        flow = solvers.FreeEnergyFlow(eta, closure=closure)
        integrator = solvers.Adaptive(rtol=1e-11, atol=1e-15)
        run = solvers.solve(flow, Quadratic(hessian), x0, steps=4, integrator=integrator)
        expected = expm(4 * (eta * hessian - 2 * np.eye(5))) @ u0
        # the third derivative, zero here, comes from differences of gradients: rounding only
        assert np.allclose(run.fluctuations[-1], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("curvature", [0.9, 1.7, 2.0, 2.6])
def test_exact_growth_is_gradient_descents(curvature):
    """One mode of curvature λ: |u| is multiplied by |ηλ − 1| per step, exactly as in gradient descent (η = 1)."""
    objective = Quadratic(np.array([[curvature]]))
    flow = solvers.FreeEnergyFlow(1.0, growth="exact")
    integrator = solvers.Adaptive(rtol=1e-10, atol=1e-14)
    run = solvers.solve(flow, objective, np.array([1.0]), steps=6, integrator=integrator)
    ratio = np.abs(run.fluctuations[1:] / run.fluctuations[:-1])
    expected = max(abs(curvature - 1.0), np.exp(-2.0))
    assert np.allclose(ratio, expected, rtol=1e-7)


class OneByOne:
    """A landscape without what its class offers to take many steps at once."""

    def __init__(self, landscape):
        self.value, self.gradient, self.hvp = landscape.value, landscape.gradient, landscape.hvp


@numba.njit
def made_by_hand(x):
    return 0.5 * (x[1] + x[0]) * x[0] ** 2 - 0.01 * (x[0] + x[1])


@pytest.mark.parametrize(
    ("landscape", "start", "learning_rate"),
    [
        (landscapes.Valley(), (0.0, 6.0), 0.3),
        *(
            pytest.param(*case, marks=pytest.mark.slow)  # each loop is compiled on its own
            for case in [
                (landscapes.Landscape(made_by_hand, 2), (0.0, 6.0), 0.3),
                (landscapes.Rosenbrock(), (-1.2, 1.0), 2e-3),
                (landscapes.Quartic(), (0.1,), 0.27),  # where it is chaotic
                (landscapes.VaryingTrough(), (1.5, 0.1), 0.4),
                (landscapes.DegreeFour(), (12.5, 0.05, 12.5, 0.05), 0.01),
            ]
        ),
    ],
)
def test_many_steps_at_once_are_the_same_bits(monkeypatch, landscape, start, learning_rate):
    monkeypatch.setattr(sys.modules["solvers.time_loop"], "_MANY_STEPS", 1)
    descent, x0 = solvers.GradientDescent(learning_rate), np.array(start)
    arguments = {"steps": 2500, "save_every": 300}
    fast = solvers.solve(descent, landscape, x0, **arguments)
    slow = solvers.solve(descent, OneByOne(landscape), x0, **arguments)
    assert landscape.compiled_gradient is not None
    assert np.array_equal(fast.times, slow.times)
    assert np.array_equal(fast.iterates, slow.iterates)
    assert np.array_equal(fast.state.values, slow.state.values)


def test_many_steps_at_once_stop_where_they_diverge(monkeypatch):
    monkeypatch.setattr(sys.modules["solvers.time_loop"], "_MANY_STEPS", 1)
    descent, quartic = solvers.GradientDescent(0.9), landscapes.Quartic()
    fast, slow = (
        solvers.solve(descent, objective, np.array([5.0]), steps=1000, save_every=1000)
        for objective in (quartic, OneByOne(quartic))
    )
    assert fast.status == "diverged" and fast.message == slow.message
    assert np.array_equal(fast.iterates, slow.iterates)


def test_the_run_can_be_cut_and_continued_without_a_change():
    for flow, kwargs in [
        (solvers.GradientDescent(0.3), {}),
        (solvers.FreeEnergyFlow(0.3, growth="exact"), {"dt": 0.25}),
        (solvers.FreeEnergyFlow(0.3), {"integrator": solvers.Adaptive()}),
    ]:
        whole = solvers.solve(flow, VALLEY, START, steps=30, **kwargs)
        first = solvers.solve(flow, VALLEY, START, steps=13, **kwargs)
        second = solvers.solve(flow, VALLEY, first.state, steps=17, **kwargs)
        assert second.times[0] == 13 and second.times[-1] == 30
        assert np.array_equal(whole.centers[13:], second.centers)
        assert np.array_equal(whole.fluctuations[13:], second.fluctuations)
        assert np.array_equal(whole.dissipated[13:], second.dissipated, equal_nan=True)


def test_a_step_in_time_without_an_integrator_is_rk4s():
    run = solvers.solve(solvers.GradientFlow(0.3), VALLEY, START, 5, dt=0.5)
    same = solvers.solve(solvers.GradientFlow(0.3), VALLEY, START, 5, integrator=solvers.RK4())
    assert np.array_equal(run.centers, same.centers)


def test_save_every_thins_what_is_kept_and_observe_sees_all():
    seen = []
    run = solvers.solve(
        solvers.GradientDescent(0.1),
        VALLEY,
        START,
        11,
        save_every=4,
        observe=lambda o: seen.append(o.step),
    )
    assert seen == list(range(12))
    assert list(run.times) == [0, 4, 8, 11]
    assert run.status == "complete"


def test_progress_is_reported():
    reports = []
    solvers.solve(
        solvers.GradientFlow(0.1),
        VALLEY,
        START,
        3,
        progress=lambda done, total: reports.append((done, total)),
    )
    assert reports == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("flow", "integrator"),
    [
        (solvers.GradientDescent(3.0), None),
        (solvers.FreeEnergyFlow(3.0), solvers.RK4()),
        (solvers.FreeEnergyFlow(3.0), solvers.Adaptive()),
    ],
)
def test_divergence_keeps_what_came_before_and_says_where(flow, integrator):
    run = solvers.solve(flow, VALLEY, START, steps=200, integrator=integrator)
    assert run.status == "diverged"
    assert f"diverged at step {int(run.times[-1]) + 1}:" in run.message
    assert np.all(np.isfinite(run.centers))
    assert len(run.times) == int(run.times[-1]) + 1


def test_a_blow_up_is_too_stiff_for_the_default_scheme_and_says_where():
    """Its spectral radius grows without bound as the state does: the run ends before numbers overflow."""
    run = solvers.solve(solvers.FreeEnergyFlow(3.0), VALLEY, START, steps=200)
    assert run.status in ("failed", "diverged")
    assert f"{run.status} at step {int(run.times[-1]) + 1}:" in run.message
    assert np.all(np.isfinite(run.centers)) and len(run.times) == int(run.times[-1]) + 1


def test_a_step_of_several_iterations_goes_on_for_the_same_objective_only():
    """Another object that is the same function: bit for bit. Another function: a new step, from where the state is."""
    flow = solvers.FreeEnergyFlow(0.3)
    whole = solvers.solve(flow, Valley(1.0, 0.01), START, steps=20)
    half = solvers.solve(flow, Valley(1.0, 0.01), START, steps=9)
    rest = solvers.solve(flow, Valley(1.0, 0.01), half.state, steps=11)
    assert np.array_equal(rest.state.values, whole.state.values)
    other = solvers.solve(flow, Valley(1.0, 0.02), half.state, steps=11)
    fresh = solvers.State(9, half.state.values, half.state.dissipated)
    expected = solvers.solve(flow, Valley(1.0, 0.02), fresh, steps=11)
    assert np.array_equal(other.state.values, expected.state.values)


def test_a_flow_too_stiff_for_its_scheme_fails_instead_of_running_for_ever():
    """ẋ = −ηλx needs at least ηλ/3.31 explicit steps of Dormand–Prince per iteration, here 30,000."""
    stiff = Quadratic(np.diag([1e5, 1.0]))
    run = solvers.solve(solvers.GradientFlow(1.0), stiff, np.ones(2), 10, integrator="adaptive")
    assert run.status == "failed"
    assert run.message.startswith(
        "failed at step 1: max_steps = 2000 inner steps did not cover one iteration"
    )
    assert list(run.times) == [0]


def test_an_interrupt_keeps_what_came_before():
    def stop(observation):
        if observation.step == 5:
            raise KeyboardInterrupt

    run = solvers.solve(solvers.GradientFlow(0.1), VALLEY, START, 100, save_every=50, observe=stop)
    assert run.status == "interrupted"
    assert run.message == "interrupted after step 5"
    assert list(run.times) == [0, 5]


def test_an_error_in_observe_is_not_swallowed():
    def fail(observation):
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        solvers.solve(solvers.GradientFlow(0.1), VALLEY, START, 3, observe=fail)


def test_an_error_in_observe_carries_what_was_done():
    def fail(observation):
        if observation.step == 4:
            raise RuntimeError("disk")

    flow = solvers.GradientDescent(0.1)
    with pytest.raises(RuntimeError, match="disk") as caught:
        solvers.solve(flow, VALLEY, START, 9, observe=fail)
    partial, whole = caught.value.partial, solvers.solve(flow, VALLEY, START, 9)
    assert partial.status == "failed" and partial.message == "failed at step 5: disk"
    assert np.array_equal(partial.iterates, whole.iterates[:4])
    rest = solvers.solve(flow, VALLEY, partial.state, 5)
    assert np.array_equal(rest.iterates, whole.iterates[4:])


def test_an_error_in_a_gradient_carries_what_was_done():
    class Fragile(Valley):
        calls = 0

        def gradient(self, x):
            self.calls += 1
            if self.calls > 7:
                raise KeyError("lost")
            return super().gradient(x)

    flow = solvers.GradientDescent(0.1)
    with pytest.raises(KeyError, match="lost") as caught:
        solvers.solve(flow, Fragile(1.0, 0.02), START, 99)
    partial = caught.value.partial
    whole = solvers.solve(flow, Valley(1.0, 0.02), START, 99)
    n = len(partial.times)
    assert n >= 5 and np.array_equal(partial.iterates, whole.iterates[:n])


def test_float32_stays_float32():
    run = solvers.solve(
        solvers.FreeEnergyFlow(0.3, growth="exact"), Float32(VALLEY), START.astype(np.float32), 5
    )
    assert run.centers.dtype == run.fluctuations.dtype == np.float32


class Float32:
    """An objective that computes in the precision it is given."""

    def __init__(self, objective):
        self.value = objective.value
        self.gradient = lambda x: objective.gradient(x).astype(x.dtype)
        self.hvp = lambda x, v: objective.hvp(x, v).astype(x.dtype)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"x0": np.array([])}, "x0 must be an array of at least one entry"),
        ({"x0": np.array([np.nan, 1.0])}, "x0 must be finite"),
        ({"steps": -1}, "steps must be .*got -1"),
        ({"steps": 1.5}, "steps must be .*got 1.5"),
        ({"save_every": 0}, "save_every must be .*got 0"),
        ({"dt": 0.3}, "dt must be 1/m .*got 0.3"),
        ({"dt": 0.0}, "dt must be .*got 0.0"),
        ({"dt": 3.0}, "dt must be 1/m .*got 3.0"),
        ({"dt": 0.5, "integrator": solvers.Adaptive()}, "Adaptive.*has its own steps"),
        ({"flow": solvers.GradientDescent(0.1), "dt": 0.5}, "GradientDescent.*has its own steps"),
        ({"flow": "gradient flow"}, "flow must be a Flow.*got 'gradient flow'"),
    ],
)
def test_bad_arguments(kwargs, message):
    arguments = {"flow": solvers.GradientFlow(0.1), "objective": VALLEY, "x0": START, "steps": 2}
    with pytest.raises(ValueError, match=message):
        solvers.solve(**(arguments | kwargs))


@pytest.mark.parametrize("learning_rate", [0.0, -0.1, float("nan"), float("inf"), "0.1"])
@pytest.mark.parametrize(
    "flow", [solvers.GradientDescent, solvers.GradientFlow, solvers.FreeEnergyFlow]
)
def test_bad_learning_rate(flow, learning_rate):
    with pytest.raises(ValueError, match="learning_rate"):
        flow(learning_rate)
