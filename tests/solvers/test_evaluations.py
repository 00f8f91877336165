"""What observing a run costs: losses that are known already, or that come with the next gradient."""

from collections import Counter

import numpy as np
import pytest

import solvers
from meanfield import Risk, TwoLayerNetwork, check_objective
from meanfield.distributed.risk import SpreadRisk
from meanfield.landscapes import Valley
from meanfield.study.engine.counting import CountingObjective
from meanfield.tasks import Task
from solvers.evaluations import remembering
from tests.helpers.lockstep import in_lockstep

RNG = np.random.default_rng(0)
TASK = Task(RNG.standard_normal((9, 2)), RNG.standard_normal((9, 1)))
RISK = Risk(TwoLayerNetwork(2), TASK, weight_decay=0.1)
START = RISK.network.initialize(12)
FLOWS = [
    solvers.GradientDescent(0.5),
    solvers.NormalizedGradientDescent(0.1),
    solvers.GradientFlow(0.5),
    solvers.GradientFlow(0.5, delay=True),
    solvers.FreeEnergyFlow(0.5),
    solvers.FreeEnergyFlow(0.5, closure="taylor"),
    solvers.FreeEnergyFlow(0.5, rank=2),
    solvers.Scheduled(solvers.GradientDescent(0.5), [[0, 0.5], [3, 0.7]]),
]


class Separate:
    """A risk with its methods counted, without `value_and_gradient`."""

    def __init__(self, risk=RISK):
        self.risk, self.calls = risk, Counter()

    def value(self, x):
        self.calls["value"] += 1
        return self.risk.value(x)

    def gradient(self, x):
        self.calls["gradient"] += 1
        return self.risk.gradient(x)

    def hvp(self, x, v):
        self.calls["hvp"] += 1
        return self.risk.hvp(x, v)

    def third(self, x, u):
        return self.risk.third(x, u)

    def inner(self, u, v):
        return self.risk.inner(u, v)


class Together(Separate):
    """One with it."""

    def value_and_gradient(self, x):
        self.calls["both"] += 1
        return self.risk.value_and_gradient(x)


def everything(o):
    numbers = o.loss, o.predicted_loss, o.iterate_loss, o.free_energy, o.gradient_norm_sq
    return [*numbers, o.center.tobytes(), o.fluctuation.tobytes()]


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_what_is_observed_and_the_run_are_the_same_bit_for_bit(flow):
    """With the pair, without it, and observed at every third step only."""
    rows = {}

    def run(objective, seen, **options):
        return solvers.solve(
            flow, objective, START, steps=7, observe=lambda o: seen.append(everything(o)), **options
        )

    for name, objective in {"risk": RISK, "separate": Separate(), "together": Together()}.items():
        rows[name] = []
        solution = run(objective, rows[name])
        rows[name].append(solution.state.values.tobytes())
    seldom = []
    solvers.solve(
        flow,
        RISK,
        START,
        steps=7,
        save_every=9,
        observe=lambda o: o.step % 3 or seldom.append(everything(o)),
    )
    assert repr(rows["risk"]) == repr(rows["separate"]) == repr(rows["together"])
    assert repr(seldom) == repr(rows["risk"][:-1:3])


@pytest.mark.parametrize("flow", FLOWS, ids=repr)
def test_numbers_are_those_of_the_objective(flow):
    """No memory of another point is taken for this one's."""

    def check(o):
        assert o.loss == RISK.value(o.center)
        gradient = RISK.gradient(o.center)
        assert o.gradient_norm_sq == RISK.inner(gradient, gradient)
        if o.iterate is not None:
            assert o.iterate_loss == RISK.value(o.iterate)
            step = (-1) ** o.step * o.fluctuation
            ends = RISK.value(o.center + step), RISK.value(o.center - step)
            assert o.predicted_loss == pytest.approx(sum(ends) / 2, rel=1e-14)
        else:
            assert np.isnan(o.iterate_loss)

    solvers.solve(flow, RISK, START, steps=7, observe=check)


def cost(flow, objective, steps=20, **options):
    """Calls for each step, from the difference of two runs."""
    before = []
    for number in (steps, 2 * steps):
        objective.calls.clear()
        solvers.solve(flow, objective, START, steps=number, **options)
        before.append(Counter(objective.calls))
    found = {name: (before[1][name] - before[0][name]) / steps for name in before[1]}
    return {name: calls for name, calls in found.items() if calls}


def test_gradient_descent_is_observed_for_one_further_value_a_step():
    """Losses of iterates come with the gradients; that at the center has to be evaluated."""
    observed = cost(
        solvers.GradientDescent(0.5),
        Together(),
        observe=lambda o: (o.gradient_norm_sq, everything(o)),
    )
    assert observed == {"both": 1 + 1}  # that at the center comes with its gradient
    without = cost(
        solvers.GradientDescent(0.5),
        Together(),
        observe=lambda o: (o.loss, o.predicted_loss, o.iterate_loss),
    )
    assert without == {"value": 1, "both": 1}
    separate = cost(
        solvers.GradientDescent(0.5),
        Separate(),
        observe=lambda o: (o.loss, o.predicted_loss, o.iterate_loss),
    )
    assert separate == {"value": 2, "gradient": 1}


def test_a_model_is_observed_for_one_further_value_a_step():
    euler = {"integrator": "euler", "dt": 1.0}
    flow = cost(solvers.GradientFlow(0.5), Together(), **euler)
    assert flow == {"both": 1}
    free_energy = cost(solvers.FreeEnergyFlow(0.5), Together(), **euler)
    assert free_energy == {"value": 1, "both": 2}


def test_gradients_that_nobody_asks_for_are_not_evaluated_ahead_again():
    objective = Together()
    own = remembering(objective)
    for shift in range(5):
        own.anticipate([START + shift])
        own.value(START + shift)
    assert objective.calls == {"both": 1, "value": 4}


def test_a_gradient_evaluated_ahead_is_given_away_once():
    """What the flow does to its array changes nothing that is remembered."""
    objective = Together()
    own = remembering(objective)
    own.anticipate([START])
    taken = own.gradient(START)
    taken[:] = np.nan
    assert np.array_equal(own.gradient(START), RISK.gradient(START))
    assert own.value(START) == RISK.value(START)
    assert objective.calls["both"] == 2


def test_an_array_changed_in_place_is_another_point():
    own = remembering(Together())
    x = START.copy()
    own.anticipate([x])
    before = own.value(x)
    x[0] += 1.0
    assert own.value(x) == RISK.value(x) != before
    assert np.array_equal(own.gradient(x), RISK.gradient(x))


def test_an_objective_that_reuses_its_array_is_remembered_right():
    class Reusing(Together):
        array = np.empty_like(START)

        def gradient(self, x):
            self.array[:] = self.risk.gradient(x)
            return self.array

        def value_and_gradient(self, x):
            return self.risk.value(x), self.gradient(x)

    for flow in FLOWS:
        ours, theirs = (solvers.solve(flow, o, START, steps=5) for o in (Reusing(), RISK))
        assert ours.centers.tobytes() == theirs.centers.tobytes()
        assert ours.losses.tobytes() == theirs.losses.tobytes()


@pytest.mark.parametrize("observed", [False, True])
def test_it_counts_what_the_flow_takes_whoever_evaluated_it(observed):
    counting = CountingObjective(Together())

    def observe(o):
        with counting.paused():
            everything(o)

    solvers.solve(
        solvers.GradientDescent(0.5),
        counting,
        START,
        steps=6,
        save_every=6,
        observe=observe if observed else None,
    )
    with counting.paused() as readings:
        assert readings["gradients"] == 1 + 1 + 6
        assert 0 < readings["solver_time"] <= counting.wall_time


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda v, g: (v + 1e-3, g), "value first"),
        (lambda v, g: (v, -g), "gradient second"),
        (lambda v, g: (g, v), "must return a number"),
        (lambda v, g: (v, g[:-1]), "array like x"),
        (lambda v, g: v, "must return a pair"),
    ],
)
def test_a_pair_that_is_not_the_two_is_refused(wrong, message):
    class Wrong(Separate):
        def value_and_gradient(self, x):
            return wrong(*RISK.value_and_gradient(x))

    with pytest.raises(ValueError, match=message):
        solvers.solve(solvers.GradientDescent(0.5), Wrong(), START, steps=1)
    with pytest.raises(ValueError, match="value_and_gradient"):
        check_objective(Wrong(), START)


def test_the_check_of_objectives_accepts_rounding_and_says_what_it_found():
    class Rounded(Separate):
        def value_and_gradient(self, x):
            value, gradient = self.risk.value_and_gradient(x)
            return value * (1 + 1e-12), gradient.astype(np.float32).astype(np.float64)

    assert 1e-9 < check_objective(Rounded(), START)["value_and_gradient"] < 1e-6
    assert check_objective(RISK, START)["value_and_gradient"] == 0.0
    assert "value_and_gradient" not in check_objective(Valley(), [0.0, 6.0])
    assert (
        solvers.solve(solvers.GradientDescent(0.5), Rounded(), START, steps=2).status == "complete"
    )


def test_ranks_of_which_one_stands_still_go_the_same_way():
    """The particles of the second rank are zero, where no gradient is: there every point is the one before."""
    risk = Risk(RISK.network, TASK)
    start = risk.network.initialize(64)
    start[32:] = 0.0

    def share(processes):
        ours = SpreadRisk(risk, len(start), processes)
        own, x, seen = remembering(ours), ours.own(start), []
        for _ in range(5):
            own.anticipate([x])
            seen += [own.value(x), own.inner(own.observed_gradient(x), x)]
            x = x - own.gradient(x)
            seen.append(own.value(x))
        return seen

    def alone(x):
        for _ in range(5):
            gradient = risk.gradient(x)
            yield from (risk.value(x), risk.inner(gradient, x))
            x = x - gradient
            yield risk.value(x)

    assert in_lockstep(2, share) == [list(alone(start))] * 2
