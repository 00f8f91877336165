"""Learning rates that change during a run, against loops by hand, closed forms and gradient descent."""

import numpy as np
import pytest

import solvers
from meanfield.landscapes import Valley
from solvers.flows import FLOWS

PAIRS = [[0, 0.1], [7, 0.25], [12, 0.05]]
X0 = np.array([1.0, 5.0])
STEPS = 20


def scheduled(flow, pairs=PAIRS):
    return solvers.Scheduled(flow, pairs)


def solve(flow, x0=X0, steps=STEPS, objective=None, **options):
    return solvers.solve(flow, objective or Valley(), x0, steps, **options)


def descent_by_hand():
    """The iterates, one more than there are steps."""
    valley, x, iterates = Valley(), X0.copy(), [X0]
    for step in range(STEPS + 1):
        rate = next(rate for start, rate in reversed(PAIRS) if step >= start)
        x = x - rate * valley.gradient(x)
        iterates.append(x)
    return np.array(iterates)


def test_gradient_descent_is_exact():
    solution, x = solve(scheduled(solvers.GradientDescent(1.0))), descent_by_hand()
    np.testing.assert_array_equal(solution.iterates, x[:-1])
    np.testing.assert_array_equal(solution.centers, 0.5 * (x[:-1] + x[1:]))
    signs = (-1.0) ** np.arange(STEPS + 1)[:, None]
    np.testing.assert_array_equal(solution.fluctuations, signs * 0.5 * (x[:-1] - x[1:]))


@pytest.mark.parametrize(
    ("flow", "options"),
    [
        (solvers.FreeEnergyFlow(1.0), {"integrator": "euler"}),
        (solvers.FreeEnergyFlow(1.0, delay=True), {"dt": 1.0}),
    ],
)
def test_the_free_energy_flow_with_unit_steps_is_gradient_descent_past_the_switches(flow, options):
    model = solve(scheduled(flow), **options)
    descent = solve(scheduled(solvers.GradientDescent(1.0)))
    np.testing.assert_allclose(model.centers, descent.centers, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(model.fluctuations, descent.fluctuations, rtol=1e-9, atol=1e-13)


class Bowl:
    """½ Σ c x²."""

    c = np.array([1.0, 3.0])

    def value(self, x):
        return 0.5 * float(np.sum(self.c * x**2))

    def gradient(self, x):
        return self.c * x

    def hvp(self, x, v):
        return self.c * v


def test_the_gradient_flow_has_the_integral_of_the_rate_for_its_time():
    scheme = solvers.Adaptive(rtol=1e-11, atol=1e-13)
    solution = solve(scheduled(solvers.GradientFlow(1.0)), objective=Bowl(), integrator=scheme)
    rates = solvers.Schedule(PAIRS).at(np.arange(STEPS))
    time = np.concatenate([[0.0], np.cumsum(rates)])[:, None]
    np.testing.assert_allclose(solution.centers, X0 * np.exp(-Bowl.c * time), rtol=1e-8)


def test_langevin_without_noise_is_gradient_descent():
    solution = solve(scheduled(solvers.Langevin(1.0, 0.0)))
    np.testing.assert_array_equal(solution.centers, descent_by_hand()[:-1])


def iterate(solution, row):
    return solution.centers[row] + (-1.0) ** solution.times[row] * solution.fluctuations[row]


@pytest.mark.parametrize("switch", [6, 7])
@pytest.mark.parametrize("flow", [solvers.EdgeFlow(1.0), solvers.FreeEnergyFlow(1.0)])
def test_the_iterate_is_kept_and_the_fluctuation_follows_the_rate(flow, switch):
    """Against the run without a switch, which is the same up to there."""
    before = solve(flow.with_rate(0.1), steps=switch)
    after = solve(scheduled(flow, [[0, 0.1], [switch, 0.3]]), steps=switch)
    np.testing.assert_array_equal(after.centers[:-1], before.centers[:-1])
    np.testing.assert_allclose(iterate(after, -1), iterate(before, -1), rtol=1e-14)
    np.testing.assert_allclose(after.fluctuations[-1], 3.0 * before.fluctuations[-1], rtol=1e-14)


def test_the_rod_keeps_its_center_and_its_covariance_follows_the_rate():
    before = solve(solvers.RodFlow(0.1), steps=7)
    after = solve(scheduled(solvers.RodFlow(1.0), [[0, 0.1], [7, 0.3]]), steps=7)
    np.testing.assert_array_equal(after.centers, before.centers)
    np.testing.assert_allclose(after.fluctuation_trace[-1], 9.0 * before.fluctuation_trace[-1])


def test_the_central_flow_goes_to_the_new_edge():
    """Along the valley's floor, from a sharpness of 4 at (0, 4), to 2/η where that is below."""
    x0, pairs = np.array([0.01, 4.0]), [[0, 0.1], [10, 0.6]]
    solution = solve(scheduled(solvers.CentralFlow(1.0), pairs), x0, steps=400, objective=Valley())
    hessian = np.array([Valley().hvp(solution.centers[-1], e) for e in np.eye(2)])
    assert np.linalg.eigvalsh(hessian)[-1] <= 2 / 0.6 * 1.001
    assert np.linalg.eigvalsh(np.array([Valley().hvp(x0, e) for e in np.eye(2)]))[-1] > 2 / 0.6
    assert solution.fluctuation_trace[:10].max() == 0.0 and solution.status == "complete"


MODELS = [
    solvers.GradientDescent(1.0),
    solvers.GradientFlow(1.0),
    solvers.GradientFlow(1.0, delay=True),
    solvers.FreeEnergyFlow(1.0, rank=2),
    solvers.FreeEnergyFlow(1.0, delay=True),
    solvers.RodFlow(1.0),
    solvers.EdgeFlow(1.0),
    solvers.CentralFlow(1.0),
    solvers.Langevin(1.0, 0.1),
    solvers.NormalizedGradientDescent(1.0),
]


@pytest.mark.parametrize("flow", MODELS, ids=repr)
@pytest.mark.parametrize("cut", [6, 7, 8])
def test_a_run_goes_on_bit_for_bit(flow, cut):
    whole = solve(scheduled(flow))
    first = solve(scheduled(flow), steps=cut)
    assert whole.status == "complete"
    rest = solve(scheduled(flow), first.state, STEPS - cut)
    np.testing.assert_array_equal(rest.centers, whole.centers[cut:])
    np.testing.assert_array_equal(rest.fluctuations, whole.fluctuations[cut:])


@pytest.mark.parametrize("flow", MODELS, ids=repr)
def test_one_rate_is_the_flow_itself(flow):
    one, plain = solve(scheduled(flow, [[0, 0.1]])), solve(flow.with_rate(0.1))
    np.testing.assert_array_equal(one.centers, plain.centers)
    np.testing.assert_array_equal(one.free_energies, plain.free_energies)
    np.testing.assert_array_equal(one.dissipated, plain.dissipated)


def test_the_balance_of_the_free_energy_ends_at_the_first_switch():
    solution = solve(scheduled(solvers.FreeEnergyFlow(1.0)))
    assert np.isfinite(solution.dissipated[:7]).all() and np.isnan(solution.dissipated[7:]).all()


def test_rates_hold_from_their_step_on():
    schedule = solvers.Schedule(PAIRS)
    assert schedule.at([0, 6.5, 7, 11, 12, 99]).tolist() == [0.1, 0.1, 0.25, 0.25, 0.05, 0.05]
    assert [schedule.part(step) for step in (0, 6, 7, 12)] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    "pairs",
    [[], 0.1, "0.1", [[1, 0.1]], [[0, 0.1], [0, 0.2]], [[0, 0.1], [5.5, 0.2]], [[0, -1]], [0, 0.1]],
)
def test_what_is_no_schedule_is_refused(pairs):
    with pytest.raises(ValueError, match="learning_rate must be"):
        solvers.Schedule(pairs)


CHANGING = {type(flow) for flow in MODELS} | {solvers.SqrtLossGradientDescent}


OPTIMIZERS = {kind for kind in FLOWS.values() if issubclass(kind, solvers.Optimizer)}


@pytest.mark.parametrize("name", [n for n in FLOWS if FLOWS[n] not in CHANGING | OPTIMIZERS])
def test_flows_for_which_it_makes_no_sense_are_refused(name):
    assert not FLOWS[name].can_change_rate
    if name == "sharpness_flow":
        with pytest.raises(ValueError, match="flow must be one whose learning rate can change"):
            scheduled(FLOWS[name](0.1))


def test_steps_in_time_that_skip_a_switch_are_refused():
    with pytest.raises(ValueError, match="dt must be one that divides the steps"):
        solve(scheduled(solvers.GradientFlow(1.0)), dt=5.0)
