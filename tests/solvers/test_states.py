"""States handed from one flow to another: converted where that is right, refused where it is not."""

import pickle

import numpy as np
import pytest

import meanfield
import solvers
from meanfield import landscapes

ETA = 0.3
VALLEY = landscapes.Valley()
START = np.array(VALLEY.start)
EULER = {"integrator": "euler"}
EPS = np.finfo(float).eps


def risk():
    network = meanfield.TwoLayerNetwork(2)
    task = meanfield.tasks.Task([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, -1.0, 0.5])
    return meanfield.Risk(network, task), network.initialize(8)


def iterate(solution):
    """x_k = w + (−1)^k u at the end."""
    return solution.centers[-1] + (-1.0) ** solution.state.step * solution.fluctuations[-1]


MODELS = [
    solvers.FreeEnergyFlow(ETA),
    solvers.FreeEnergyFlow(ETA, growth="exact"),
    solvers.FreeEnergyFlow(ETA, delay=True),
    solvers.RodFlow(ETA),
    solvers.EdgeFlow(ETA),
    solvers.JKOFlow(ETA, saddle=True),
    solvers.SelfStabilization.from_objective(VALLEY, START, ETA),
]
OTHERS = [
    solvers.GradientFlow(ETA),
    solvers.CentralFlow(ETA),
    solvers.Langevin(ETA, 0.01),
    solvers.JKOFlow(ETA),
]


@pytest.mark.parametrize("steps", [0, 4, 7])
@pytest.mark.parametrize("flow", MODELS, ids=lambda f: type(f).__name__)
def test_gradient_descent_goes_on_from_the_iterate_of_a_model(flow, steps):
    model = solvers.solve(flow, VALLEY, START, steps)
    handed = solvers.solve(solvers.GradientDescent(0.1), VALLEY, model.state, 5)
    plain = solvers.solve(solvers.GradientDescent(0.1), VALLEY, iterate(model), 5)
    assert handed.status == "complete"
    assert np.array_equal(handed.iterates, plain.iterates)
    assert np.array_equal(handed.times, steps + plain.times)
    # as x_k = w + (−1)^k u says, with the step counted on
    signs = (-1.0) ** handed.times[:, None]
    np.testing.assert_allclose(handed.centers + signs * handed.fluctuations, handed.iterates)


def test_on_a_risk():
    objective, x0 = risk()
    model = solvers.solve(solvers.FreeEnergyFlow(2.0), objective, x0, 9)
    handed = solvers.solve(solvers.GradientDescent(2.0), objective, model.state, 20)
    plain = solvers.solve(solvers.GradientDescent(2.0), objective, iterate(model), 20)
    assert np.array_equal(handed.iterates, plain.iterates)


@pytest.mark.parametrize("steps", [0, 1, 6, 11])
@pytest.mark.parametrize("eta", [0.1, 0.3, 0.31])
def test_the_identity_with_gradient_descent_survives_being_handed_on_and_back(eta, steps):
    descent = solvers.solve(solvers.GradientDescent(eta), VALLEY, START, 60)
    first = solvers.solve(solvers.GradientDescent(eta), VALLEY, START, steps)
    model = solvers.solve(solvers.FreeEnergyFlow(eta), VALLEY, first.state, 13, **EULER)
    # not reached through 60 steps of a chaotic system: rounding, a few times amplified
    tolerance = {"rtol": 0, "atol": 1e4 * EPS}
    stretch = slice(steps, steps + 14)
    np.testing.assert_allclose(model.centers, descent.centers[stretch], **tolerance)
    np.testing.assert_allclose(model.fluctuations, descent.fluctuations[stretch], **tolerance)
    back = solvers.solve(solvers.GradientDescent(eta), VALLEY, model.state, 10)
    np.testing.assert_allclose(
        back.iterates, descent.iterates[steps + 13 : steps + 24], **tolerance
    )


@pytest.mark.parametrize("steps", [3, 4])
@pytest.mark.parametrize("flow", MODELS, ids=lambda f: type(f).__name__)
def test_a_model_starts_from_an_iterate_with_the_sign_of_its_step(flow, steps):
    descent = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, steps)
    handed = solvers.solve(flow, VALLEY, descent.state, 0)
    assert handed.times[0] == steps
    center, expected = descent.centers[-1], descent.fluctuations[-1]
    if isinstance(flow, solvers.EdgeFlow):  # it keeps the part along the top eigenvector
        q = solvers.top_eigenpairs(VALLEY, descent.iterates[-1]).vectors[0]
        expected = q * (q @ expected)
    if isinstance(flow, solvers.SelfStabilization):  # likewise, and leaves the rest to the center
        q = flow.vectors[0]
        expected = q * (q @ expected)
        center = descent.iterates[-1] - (-1.0) ** steps * expected
    np.testing.assert_allclose(handed.centers[0], center, atol=1e-14)
    np.testing.assert_allclose(handed.fluctuations[0], expected, atol=1e-12)


@pytest.mark.parametrize("flow", OTHERS, ids=lambda f: type(f).__name__)
def test_flows_without_a_sign_start_from_the_iterate(flow):
    descent = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 5)
    handed = solvers.solve(flow, VALLEY, descent.state, 0)
    plain = solvers.solve(flow, VALLEY, descent.iterates[-1], 0)
    assert np.array_equal(handed.centers, plain.centers)


@pytest.mark.parametrize("other", [0.1, np.float32(0.3), 0.300001])
def test_another_learning_rate_takes_no_step_at_the_old_one(other):
    first = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 4)
    x = first.iterates[-1]
    handed = solvers.solve(solvers.GradientDescent(other), VALLEY, first.state, 1)
    assert np.array_equal(handed.iterates[1], x - float(other) * VALLEY.gradient(x))


def test_between_kinds_of_descent():
    first = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 4)
    handed = solvers.solve(solvers.NormalizedGradientDescent(0.01), VALLEY, first.state, 3)
    plain = solvers.solve(solvers.NormalizedGradientDescent(0.01), VALLEY, first.iterates[-1], 3)
    assert np.array_equal(handed.iterates, plain.iterates)


def test_flows_without_fluctuation_go_on_from_their_center():
    hot = solvers.solve(solvers.Langevin(0.1, 0.1), VALLEY, START, 6)
    cold = solvers.solve(solvers.Langevin(0.1, 0.001), VALLEY, hot.state, 0)
    slow = solvers.solve(solvers.GradientFlow(0.01), VALLEY, hot.state, 0)
    assert np.array_equal(cold.centers[0], hot.centers[-1])
    assert np.array_equal(slow.centers[0], hot.centers[-1])


@pytest.mark.parametrize(
    ("flow", "before"),
    [
        (solvers.FreeEnergyFlow(0.2), solvers.FreeEnergyFlow(ETA)),
        (solvers.FreeEnergyFlow(ETA, closure="taylor"), solvers.FreeEnergyFlow(ETA)),
        (solvers.FreeEnergyFlow(ETA, delay=True), solvers.FreeEnergyFlow(ETA)),
        (solvers.RodFlow(ETA), solvers.FreeEnergyFlow(ETA)),
        (solvers.CentralFlow(ETA), solvers.FreeEnergyFlow(ETA)),
        (solvers.GradientFlow(ETA), solvers.EdgeFlow(ETA)),
        (solvers.GradientDescent(ETA), solvers.CentralFlow(ETA)),
        (solvers.GradientDescent(ETA), solvers.FreeEnergyFlow(ETA, rank=2)),
        (solvers.JKOFlow(ETA), solvers.JKOFlow(ETA, saddle=True)),
    ],
)
def test_what_has_no_right_reading_is_refused_with_the_remedy(flow, before):
    state = solvers.solve(before, VALLEY, START, 3).state
    with pytest.raises(
        ValueError, match=r"^x0 must be a state of .*got a state of .*centers\[-1\]"
    ):
        solvers.solve(flow, VALLEY, state, 1)


@pytest.mark.parametrize("flow", MODELS + OTHERS, ids=lambda f: type(f).__name__)
def test_one_flow_of_equal_parameters_goes_on_bit_for_bit(flow):
    whole = solvers.solve(flow, VALLEY, START, 6)
    half = solvers.solve(flow, VALLEY, START, 3)
    if isinstance(flow, solvers.SelfStabilization):
        twin = solvers.SelfStabilization.from_objective(VALLEY, START, ETA)
    else:
        twin = pickle.loads(pickle.dumps(flow))
    for state in (half.state, pickle.loads(pickle.dumps(half.state))):
        again = solvers.solve(twin, VALLEY, state, 3)
        assert np.array_equal(again.centers[-1], whole.centers[-1])
        assert np.array_equal(again.fluctuations[-1], whole.fluctuations[-1])


def test_a_state_written_out_by_hand_is_taken_at_its_word():
    half = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 3).state
    bare = solvers.State(half.step, half.values.tolist(), half.dissipated)
    again = solvers.solve(solvers.GradientDescent(ETA), VALLEY, bare, 3)
    whole = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 6)
    assert np.array_equal(again.iterates, whole.iterates[3:])


@pytest.mark.parametrize(
    ("flow", "values"),
    [
        (solvers.GradientDescent(ETA), 1.0),
        (solvers.GradientDescent(ETA), []),
        (solvers.GradientDescent(ETA), [[1.0, 2.0]]),
        (solvers.CentralFlow(ETA), []),
        (solvers.FreeEnergyFlow(ETA), [[1.0, 2.0]]),
        (solvers.JKOFlow(ETA, saddle=True), [[1.0, 2.0]]),
    ],
)
def test_a_state_by_hand_that_fits_no_flow_is_refused(flow, values):
    with pytest.raises(ValueError, match="x0 must be a state of"):
        solvers.solve(flow, VALLEY, solvers.State(1, values, 0.0), 1)


@pytest.mark.parametrize("flow", [solvers.GradientDescent(0.1), solvers.FreeEnergyFlow(0.1)])
def test_a_state_of_another_objective_must_have_its_shape(flow):
    state = solvers.solve(flow, landscapes.Quartic(), [0.1], 2).state
    with pytest.raises(ValueError, match="x0 must be a state of this objective"):
        solvers.solve(flow, VALLEY, state, 1)
    objective, _ = risk()
    with pytest.raises(ValueError, match="x0 must be a state of this objective"):
        solvers.solve(flow, objective, state, 1)
    with pytest.raises(ValueError, match="objective must be an object with a method"):
        solvers.solve(flow, 3.0, state, 1)
    more = solvers.solve(flow, landscapes.Quartic(11.0), state, 1)  # the same shape: as asked for
    assert more.status == "complete"


def test_an_objective_that_broadcasts_is_found_out():
    class Scalar:
        value = staticmethod(lambda x: float(x[0] ** 2))
        gradient = staticmethod(lambda x: 2 * x[:1])
        hvp = staticmethod(lambda x, v: 2 * v[:1])

    state = solvers.solve(solvers.GradientDescent(0.1), VALLEY, START, 2).state
    with pytest.raises(ValueError, match="x0 must be a state of this objective"):
        solvers.solve(solvers.GradientDescent(0.1), Scalar(), state, 1)


def test_going_on_costs_no_evaluation_on_the_same_objective():
    calls = []

    class Counted:
        value, hvp = VALLEY.value, VALLEY.hvp

        def gradient(self, x):
            calls.append(1)
            return VALLEY.gradient(x)

    objective = Counted()
    half = solvers.solve(solvers.GradientDescent(ETA), objective, START, 3)
    calls.clear()
    solvers.solve(solvers.GradientDescent(ETA), objective, half.state, 3)
    assert len(calls) == 3


def test_a_pickled_state_leaves_its_objective_behind():
    state = solvers.solve(solvers.GradientDescent(ETA), VALLEY, START, 3).state
    assert state.objective is VALLEY
    again = pickle.loads(pickle.dumps(state))
    assert again.objective is None and again.flow == state.flow


def test_a_continued_run_keeps_the_multiples_of_save_every():
    """Fewer steps than save_every may have one of its multiples among them."""
    parabola, descent = landscapes.Landscape(lambda x: 2 * x[0] ** 2), solvers.GradientDescent(0.1)
    first = solvers.solve(descent, parabola, [1.0], steps=81)
    rest = solvers.solve(descent, parabola, first.state, steps=20, save_every=100)
    assert rest.times.tolist() == [81, 100, 101]
