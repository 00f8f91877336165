"""What a solution takes is known before, taken once, and refused where it is not there."""

import re
import tracemalloc

import numpy as np
import pytest

import solvers
from meanfield.landscapes import Valley
from solvers import recording

START = np.array(Valley().start)


class Bowl:
    """½|x|² in any number of coordinates."""

    value = staticmethod(lambda x: 0.5 * float(x @ x))
    gradient = staticmethod(lambda x: x.copy())
    hvp = staticmethod(lambda x, v: v.copy())


def size(solution):
    names = ("centers", "fluctuations", "iterates", "times", "losses", "predicted_losses")
    return sum(a.nbytes for a in (getattr(solution, n) for n in names) if a is not None)


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(solvers.GradientDescent(0.1), marks=pytest.mark.slow),
        pytest.param(solvers.FreeEnergyFlow(0.1), marks=pytest.mark.slow),
        pytest.param(solvers.RodFlow(0.1, rank=2), marks=pytest.mark.slow),
        solvers.GradientFlow(0.1),
    ],
)
def test_the_peak_is_the_result(flow):
    x0 = np.linspace(1.0, 2.0, 4000)
    solvers.solve(flow, Bowl(), x0, 3)  # imports, and what is kept between calls
    tracemalloc.start()
    try:
        solution = solvers.solve(flow, Bowl(), x0, 300)
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(solution.times) == 301
    # some forty states of the flow's own arithmetic are 3% of it; a stack of lists was 175%
    assert size(solution) <= peak <= 1.1 * size(solution)
    assert current <= 1.03 * size(solution)


def test_a_run_that_ends_early_gives_back_what_it_did_not_need():
    class Cliff(Bowl):
        gradient = staticmethod(lambda x: x if x[0] > 0.9 else np.full_like(x, np.nan))

    x0 = np.linspace(1.0, 2.0, 4000)
    tracemalloc.start()
    try:
        solution = solvers.solve(solvers.GradientDescent(0.01), Cliff(), x0, 2000)
        current, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert solution.status == "diverged" and len(solution.times) < 15
    assert solution.centers.shape == (len(solution.times), 4000)
    assert current < 2e6 + 1.1 * size(solution)


@pytest.mark.parametrize(
    ("steps", "every", "dt"), [(7, 1, None), (7, 3, None), (6, 3, None), (0, 5, None), (12, 5, 4.0)]
)
def test_the_rows_are_those_of_the_states(steps, every, dt):
    flow = solvers.GradientDescent(0.3) if dt is None else solvers.FreeEnergyFlow(0.001)
    seen = {}

    def observe(o):
        seen[o.step] = (o.center.copy(), o.fluctuation.copy(), o.loss)

    run = solvers.solve(
        flow,
        Valley(),
        START,
        steps,
        save_every=every,
        dt=dt,
        integrator=dt and "euler",
        observe=observe,
    )
    kept = [step for step in seen if step % every == 0 or step == steps]
    assert run.times.tolist() == kept
    assert np.array_equal(run.centers, [seen[step][0] for step in kept])
    assert np.array_equal(run.fluctuations, [seen[step][1] for step in kept])
    assert np.array_equal(run.losses, [seen[step][2] for step in kept])


def test_going_on_keeps_the_steps_that_count_from_zero():
    half = solvers.solve(solvers.GradientDescent(0.3), Valley(), START, 5, save_every=4)
    rest = solvers.solve(solvers.GradientDescent(0.3), Valley(), half.state, 8, save_every=4)
    assert half.times.tolist() == [0, 4, 5]
    assert rest.times.tolist() == [5, 8, 12, 13]


def test_more_than_there_is_is_refused_before_it_starts():
    evaluated = []

    class Watched(Bowl):
        @staticmethod
        def gradient(x):
            evaluated.append(1)
            return x.copy()

    message = r"^save_every must be larger, about \d+ or more, got 1: 10,000,000,0\d\d states of 0.6.* MB are .* GB"
    with pytest.raises(ValueError, match=message):
        solvers.solve(solvers.GradientDescent(0.1), Watched(), np.ones(26400), 10**10)
    assert len(evaluated) <= 3


def test_the_remedy_is_one(monkeypatch):
    monkeypatch.setattr(recording, "available_memory", lambda: 10**6)
    monkeypatch.setattr(recording, "_WORTH_ASKING", 0)
    flow, x0 = solvers.GradientDescent(0.1), np.ones(1000)
    with pytest.raises(ValueError, match="0.001 GB are available") as refusal:
        solvers.solve(flow, Bowl(), x0, 5000)
    enough = int(re.search(r"about (\d+) or more", str(refusal.value))[1])
    assert solvers.solve(flow, Bowl(), x0, 5000, save_every=enough).status == "complete"
    with pytest.raises(ValueError, match="save_every"):
        solvers.solve(flow, Bowl(), x0, 5000, save_every=enough // 2)
    # of a flow that is seen every hundred iterations there are fewer rows
    slow = solvers.FreeEnergyFlow(1e-6)
    assert len(solvers.solve(slow, Bowl(), x0, 4000, dt=100, integrator="euler").times) == 41


def test_where_no_system_tells_it_is_tried(monkeypatch):
    monkeypatch.setattr(recording, "available_memory", lambda: None)
    with pytest.raises(ValueError, match="^save_every must be larger.*that much cannot be had"):
        solvers.solve(solvers.GradientDescent(0.1), Bowl(), np.ones(1000), 10**15)


@pytest.mark.parametrize("flow", [solvers.GradientDescent(0.1), solvers.FreeEnergyFlow(0.1)])
def test_memory_that_runs_out_leaves_what_there_is(flow):
    class Full(Bowl):
        left = 60

        def gradient(self, x):
            self.left -= 1
            if self.left < 0:
                raise MemoryError("Unable to allocate")
            return x.copy()

    objective = Full()
    solution = solvers.solve(flow, objective, np.ones(3), 100)
    assert solution.status == "failed"
    assert re.match(r"failed at step \d+: out of memory: Unable to allocate", solution.message)
    assert len(solution.times) > 1 and np.all(np.isfinite(solution.centers))
    assert solution.state.step == solution.times[-1]
    objective.left = 1000
    rest = solvers.solve(flow, objective, solution.state, 5)
    assert rest.status == "complete"


def test_a_precision_that_changes_on_the_way_is_kept():
    class Doubling(Bowl):
        calls = 0

        def gradient(self, x):
            self.calls += 1
            return x.astype(np.float64) if self.calls > 6 else x.copy()

    run = solvers.solve(solvers.GradientDescent(0.1), Doubling(), np.ones(3, np.float32), 10)
    assert run.centers.dtype == np.float64 and len(run.centers) == 11


def _with(**methods):
    return type("Objective", (Bowl,), methods)()


def test_a_loss_that_is_not_finite_is_no_complete_run():
    def value(x):
        return float(x @ x) if x[0] > 0.5 else np.nan

    run = solvers.solve(
        solvers.GradientDescent(0.1), _with(value=staticmethod(value)), np.ones(2), 50
    )
    assert run.status == "diverged"
    assert re.match(r"diverged at step \d+: the loss there is not finite", run.message)
    both = np.stack([run.losses, run.predicted_losses])
    first = int(re.search(r"step (\d+)", run.message)[1])
    assert np.all(np.isfinite(both[:, :first])) and not np.all(np.isfinite(both[:, first]))


@pytest.mark.parametrize("large", [1e308, -1e308, 1e200, 1e155])
def test_one_huge_entry(large):
    run = solvers.solve(solvers.GradientDescent(0.1), Bowl(), [0.5, large], 5)
    assert run.status == "diverged"
    assert run.message == "diverged at step 0: the loss there is not finite, though the state is"


@pytest.mark.parametrize("value", [np.zeros(1), np.zeros((1, 1)), None, 1j, [0.0], "a lot"])
def test_a_value_that_is_no_number_names_itself(value):
    objective = _with(value=lambda self, x: value)
    with pytest.raises(ValueError, match="^objective.value must return a number, got"):
        solvers.solve(solvers.GradientDescent(0.1), objective, np.ones(2), 5)


@pytest.mark.parametrize("method", ["gradient", "hvp"])
@pytest.mark.parametrize("result", [None, 0.0, [0.0], "no", np.zeros(2, complex), np.zeros((1, 2))])
def test_a_gradient_that_is_no_array_names_itself(method, result):
    objective = _with(**{method: lambda self, *x: result})
    with pytest.raises(ValueError, match=f"^objective.{method} must return .* like x"):
        solvers.solve(solvers.EdgeFlow(0.1), objective, np.ones(2), 5)


@pytest.mark.parametrize(
    "flow", [solvers.GradientDescent(0.1), solvers.FreeEnergyFlow(0.1), solvers.EdgeFlow(0.1)]
)
def test_lists_are_arrays(flow):
    def listing(method):
        return staticmethod(lambda *x: getattr(Bowl, method)(*x).tolist())

    objective = _with(gradient=listing("gradient"), hvp=listing("hvp"))
    x0 = np.array([1.0, 2.0])
    ours, plain = (solvers.solve(flow, e, x0, 5) for e in (objective, Bowl()))
    assert np.array_equal(ours.centers, plain.centers)
