"""Rod, edge and central flow: what holds of each whatever the objective. Published values: tests/literature."""

import numpy as np
import pytest

import solvers
from meanfield import Risk, TwoLayerNetwork
from meanfield.tasks import Task
from tests.helpers.landscapes import Quadratic, Valley, WithoutThird

ETA = 0.3
VALLEY = Valley()
START = np.array([0.1, 6.5])
FLOWS = [solvers.RodFlow(ETA), solvers.EdgeFlow(ETA), solvers.CentralFlow(ETA)]


@pytest.fixture(scope="module")
def risk():
    rng = np.random.default_rng(0)
    task = Task(rng.standard_normal((12, 2)), rng.standard_normal((12, 1)), "random")
    return Risk(TwoLayerNetwork(2), task)


@pytest.mark.parametrize("flow", [*FLOWS, solvers.FreeEnergyFlow(ETA, delay=True)], ids=repr)
def test_they_start_at_the_first_center_of_gradient_descent(flow):
    run = solvers.solve(flow, VALLEY, START, 0)
    np.testing.assert_allclose(
        run.centers[0], START - 0.5 * ETA * VALLEY.gradient(START), rtol=1e-15
    )


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_they_do_not_depend_on_the_order_of_particles(flow, risk):
    """Sums over particles are taken in another order: rounding, times the growth e^{ηS t} ≈ e⁴ of two iterations.
    The edge flow starts from an eigenvector that is good to 1e-10 over the relative gap."""
    x = risk.network.initialize(20)
    shuffled = np.random.default_rng(1).permutation(20)
    flow = type(flow)(1.0)
    one = solvers.solve(flow, risk, x, 2)
    other = solvers.solve(flow, risk, x[shuffled], 2)
    np.testing.assert_allclose(other.centers[-1], one.centers[-1][shuffled], rtol=0, atol=1e-9)


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_they_go_on_from_a_state(flow):
    whole = solvers.solve(flow, VALLEY, START, 20)
    half = solvers.solve(flow, VALLEY, START, 10)
    rest = solvers.solve(flow, VALLEY, half.state, 10)
    np.testing.assert_array_equal(whole.centers[10:], rest.centers)
    np.testing.assert_array_equal(whole.fluctuations[10:], rest.fluctuations)


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_float32_stays(flow):
    run = solvers.solve(flow, VALLEY, START.astype(np.float32), 3)
    assert run.centers.dtype == run.fluctuations.dtype == np.float32


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_an_objective_without_hvp_is_refused(flow):
    class OnlyGradient:
        value, gradient = VALLEY.value, VALLEY.gradient

    with pytest.raises(ValueError, match=f"a method hvp, which {type(flow).__name__} needs"):
        solvers.solve(flow, OnlyGradient(), START, 1)


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_a_hessian_that_is_not_symmetric_is_refused(flow):
    crooked = Quadratic(np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="objective.hvp must be symmetric"):
        solvers.solve(flow, crooked, START, 1)


def test_shapes_that_disagree_are_refused():
    with pytest.raises(
        ValueError,
        match=r"objective.gradient must return an array like x, \(2,\), got shape \(1, 2\)",
    ):
        objective = Quadratic(np.eye(2))
        wrong = type("Wrong", (), {"value": objective.value, "gradient": lambda s, x: x[None]})
        solvers.solve(solvers.GradientDescent(0.1), wrong(), START, 1)
    with pytest.raises(
        ValueError, match=r"objective.hvp must return an array like x, \(2,\), got shape \(1,\)"
    ):
        wrong = type("Wrong", (Quadratic,), {"hvp": lambda s, x, v: v[:1]})
        solvers.solve(solvers.EdgeFlow(0.1), wrong(np.eye(2)), START, 1)


@pytest.mark.parametrize(
    "flow",
    [solvers.GradientDescent(ETA), solvers.GradientFlow(ETA), solvers.FreeEnergyFlow(ETA), *FLOWS],
    ids=repr,
)
def test_at_a_minimum_nothing_happens_and_it_is_said(flow):
    run = solvers.solve(flow, Quadratic(np.diag([5.0, 1.0])), np.zeros(2), 50)
    assert run.status == "complete"
    assert "no oscillation ever starts" in run.message
    assert not run.centers.any() and not run.fluctuations.any()


def test_the_edge_flow_follows_a_fluctuation_below_the_smallest_number():
    """On a quadratic log m falls by 2 − ηλ per iteration for ever, and comes back where the curvature does."""
    flow = solvers.EdgeFlow(1.0)
    run = solvers.solve(flow, Quadratic(np.diag([0.5, 0.1])), np.array([1.0, 0.0]), 600)
    log_m = run.state.values[2, 0]
    # RK4 on the constant rate −1.5 is exact; u_0 = ½·0.5
    assert log_m == pytest.approx(np.log(0.25) - 600 * 1.5, rel=1e-12)
    assert run.fluctuation_trace[-1] == 0.0


def test_the_rod_flow_keeps_few_factors_of_a_large_problem():
    """The factors left out weigh e^{−2t} of what fed them: sixteen cover the last two iterations at dt = ¼."""
    rng = np.random.default_rng(0)
    matrix = np.diag(np.linspace(0.1, 1.9, 200))
    x = rng.standard_normal(200)
    full = solvers.solve(solvers.RodFlow(1.0, rank=200), Quadratic(matrix), x, 10)
    low = solvers.solve(solvers.RodFlow(1.0), Quadratic(matrix), x, 10)
    assert low.state.values.shape == (17, 200)
    scale = full.fluctuation_trace[-1]
    assert abs(low.fluctuation_trace[-1] - scale) < np.exp(-4) * scale
    np.testing.assert_allclose(low.centers[-1], full.centers[-1], rtol=0, atol=1e-12)


def test_the_central_flow_takes_third_derivatives_from_gradients():
    """A central difference of step ε^¼: relative error √ε, which the first-order scheme does not amplify."""
    with_third = solvers.solve(solvers.CentralFlow(ETA), VALLEY, START, 50)
    without = solvers.solve(solvers.CentralFlow(ETA), WithoutThird(VALLEY), START, 50)
    np.testing.assert_allclose(without.centers[-1], with_third.centers[-1], rtol=0, atol=1e-6)


def test_the_central_flow_says_when_it_has_too_few_modes():
    class TwoValleys:
        """Two valleys with the same river: both modes become critical at once."""

        def value(self, p):
            return 0.5 * p[2] * (p[0] ** 2 + p[1] ** 2) - 0.01 * p.sum()

        def gradient(self, p):
            return np.array([p[2] * p[0], p[2] * p[1], 0.5 * (p[0] ** 2 + p[1] ** 2)]) - 0.01

        def hvp(self, p, v):
            across = p[2] * v[:2] + v[2] * p[:2]
            return np.append(across, p[:2] @ v[:2])

    run = solvers.solve(
        solvers.CentralFlow(ETA, max_modes=1), TwoValleys(), np.array([0, 0, 6.6]), 99
    )
    assert run.status == "failed"
    assert "max_modes must be at least 2, the number of critical modes, got 1" in run.message
    assert np.all(np.isfinite(run.centers))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: solvers.RodFlow(1.0, rank=0), "rank must be .*got 0"),
        (lambda: solvers.CentralFlow(1.0, max_modes=0), "max_modes must be .*got 0"),
        (lambda: solvers.SharpnessFlow(1.0, law="other"), "law must be .*got 'other'"),
        (lambda: solvers.SqrtLossGradientDescent(1.0, minimum=np.nan), "minimum must be .*got nan"),
        (
            lambda: solvers.FreeEnergyFlow(1.0, growth="exact", delay=True),
            "growth must be 'linear' where delay=True, got 'exact'",
        ),
        (
            lambda: solvers.FreeEnergyFlow(1.0, fluctuation_floor="round"),
            "fluctuation_floor must be 'rounding' or",
        ),
        *[
            (lambda flow=flow: flow(-1.0), "learning_rate must be .*got -1.0")
            for flow in (
                solvers.RodFlow,
                solvers.EdgeFlow,
                solvers.CentralFlow,
                solvers.NormalizedGradientDescent,
                solvers.SqrtLossGradientDescent,
                solvers.SharpnessFlow,
            )
        ],
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_their_schemes_are_their_own(flow):
    if isinstance(flow, solvers.SteppedFlow):
        with pytest.raises(
            ValueError, match="integrator must be None for .* has its own steps in time"
        ):
            solvers.solve(flow, VALLEY, START, 1, integrator=solvers.RK4())
