"""Flows whose particles are spread over processes, against the same in one process: bit for bit, so there is no tolerance.

The processes are threads in lockstep; `test_distributed_runs.py` has real ones.
"""

import contextlib
import dataclasses
import inspect

import pytest

import solvers
from meanfield.distributed import GatheredRisk, SpreadRisk
from solvers.flow import Flow
from solvers.stepping import is_particlewise
from solvers.time_loop import Observation
from tests.helpers.lockstep import in_lockstep
from tests.helpers.matrices import PRECISIONS, slow_unless
from tests.helpers.spread_risks import bits, problem

ETA = 0.4


@pytest.fixture(autouse=True)
def _observations_without_a_lock(monkeypatch):
    """Up to Python 3.11 a cached property is computed under a lock of its class: in MPI's processes each has its own."""
    for attribute in vars(Observation).values():
        if hasattr(attribute, "lock"):
            monkeypatch.setattr(attribute, "lock", contextlib.nullcontext())


PARTICLEWISE = [
    (solvers.GradientDescent(ETA), {}),
    (solvers.NormalizedGradientDescent(ETA), {}),
    (solvers.SqrtLossGradientDescent(ETA), {}),
    (solvers.GradientFlow(ETA), {}),
    (solvers.GradientFlow(ETA), {"dt": 0.5}),
    (solvers.GradientFlow(ETA), {"integrator": solvers.ROCK4()}),
    (solvers.FreeEnergyFlow(ETA), {"integrator": solvers.ROCK4()}),
    (solvers.EdgeFlow(ETA), {"integrator": solvers.RKC()}),
    (solvers.EdgeFlow(ETA), {"dt": 0.5}),
    (solvers.GradientFlow(ETA), {"integrator": solvers.Euler()}),
    (solvers.GradientFlow(ETA), {"integrator": solvers.Midpoint()}),
    (solvers.GradientFlow(ETA, delay=True), {}),
    (solvers.FreeEnergyFlow(ETA), {}),
    (solvers.FreeEnergyFlow(ETA, "taylor"), {}),
    (solvers.FreeEnergyFlow(ETA, growth="exact"), {}),
    (solvers.FreeEnergyFlow(ETA, rank=3, fluctuation_floor="rounding"), {}),
    (solvers.FreeEnergyFlow(ETA, fluctuation_floor=0.3), {}),
    (solvers.FreeEnergyFlow(ETA, delay=True), {}),
    (solvers.EdgeFlow(ETA), {}),
    (solvers.HeavyBall(ETA, 0.3), {}),
    (solvers.Nesterov(ETA, 0.3), {}),
    (solvers.ScalarRMSProp(0.01), {}),
    (solvers.RMSProp(0.01), {}),
    (solvers.Adam(0.01), {}),
    (solvers.FreeEnergyFlow(solvers.Adam(0.01), delay=True), {}),
    (solvers.FreeEnergyFlow(solvers.HeavyBall(ETA, 0.3)), {}),
]
TOGETHER = [
    (solvers.GradientFlow(ETA), {"integrator": solvers.Adaptive()}),
    (solvers.FreeEnergyFlow(ETA), {"integrator": solvers.Adaptive()}),
    (solvers.RodFlow(ETA), {}),
    (solvers.RodFlow(solvers.Adam(0.01)), {}),
    (solvers.CentralFlow(ETA), {}),
    (solvers.Langevin(ETA, 0.01), {}),
    (solvers.JKOFlow(ETA), {}),
]


def measured(solution, gather=lambda x: x):
    """Everything of a solution, in bits."""
    arrays = [gather(solution.centers), gather(solution.fluctuations)]
    if solution.iterates is not None:
        arrays.append(gather(solution.iterates))
    arrays += [solution.fluctuation_trace, solution.losses, solution.predicted_losses]
    arrays += [solution.free_energies, solution.dissipated]
    return [bits(array) for array in arrays], solution.status, solution.message


#: Of each flow one case is fast, the first.
CASES = slow_unless(
    lambda flow, options: flow is next(f for f, _ in PARTICLEWISE if type(f) is type(flow)),
    PARTICLEWISE,
)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("flow", "options"), CASES, ids=repr)
def test_flows_on_shares_are_those_of_one_process(flow, options, dtype):
    risk, x, _ = problem(19, dtype=dtype)
    assert is_particlewise(flow, **options)
    expected = measured(solvers.solve(flow, risk, x, steps=4, **options))

    def prepared(processes):
        shares = SpreadRisk(risk, len(x), processes)
        solution = solvers.solve(flow, shares, shares.own(x), steps=4, **options)
        return measured(solution, shares.gather)

    assert in_lockstep(3, prepared) == [expected] * 3
    assert expected[1] == "complete"


@pytest.mark.parametrize(("flow", "options"), TOGETHER, ids=repr)
def test_the_other_flows_run_on_gathered_particles(flow, options):
    risk, x, _ = problem(19)
    assert not is_particlewise(flow, **options)
    expected = measured(solvers.solve(flow, risk, x, steps=2, **options))

    def prepared(processes):
        return measured(solvers.solve(flow, GatheredRisk(risk, processes), x, steps=2, **options))

    def refused(processes):
        shares = SpreadRisk(risk, len(x), processes)
        with pytest.raises(ValueError, match="objective must have all particles on one rank for "):
            solvers.solve(flow, shares, shares.own(x), steps=2, **options)

    assert in_lockstep(2, prepared) == [expected] * 2
    in_lockstep(2, refused)


def test_every_flow_that_is_said_to_go_particle_by_particle_is_tested():
    flows = {
        flow
        for _, flow in inspect.getmembers(solvers, inspect.isclass)
        if issubclass(flow, Flow) and flow.particlewise and not inspect.isabstract(flow)
    }
    assert flows <= {type(flow) for flow, _ in PARTICLEWISE}


def test_a_state_that_overflows_on_one_process_ends_the_run_on_all():
    risk, x, _ = problem(16, train_output=False)
    x[-1] = 1e307  # saturated: weight decay alone acts on it, by a factor 1 − ηλ = −2 a step
    flow = solvers.GradientDescent(300.0)
    expected = measured(solvers.solve(flow, risk, x, steps=9))
    assert expected[1:] == ("diverged", "diverged at step 3: the state is not finite")

    def prepared(processes):
        shares = SpreadRisk(risk, len(x), processes)
        return measured(solvers.solve(flow, shares, shares.own(x), steps=9), shares.gather)

    assert in_lockstep(3, prepared) == [expected] * 3


# --- what is refused ---


@dataclasses.dataclass(frozen=True)
class Mine(solvers.GradientDescent):
    """A flow of somebody's own."""

    half: float = 0.5


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        (solvers.GradientDescent(ETA), solvers.GradientDescent(0.3), {}),
        (solvers.GradientDescent(ETA), solvers.FreeEnergyFlow(ETA), {}),
        (solvers.FreeEnergyFlow(ETA), solvers.FreeEnergyFlow(ETA, growth="exact"), {}),
        (Mine(ETA), Mine(ETA, half=0.25), {}),
        (solvers.GradientDescent(ETA), solvers.GradientDescent(ETA), {"steps": 3}),
        (solvers.GradientDescent(ETA), solvers.GradientDescent(ETA), {"steps": -1}),
        (solvers.GradientDescent(ETA), solvers.GradientDescent(ETA), {"save_every": 2}),
        (solvers.EdgeFlow(ETA), solvers.EdgeFlow(ETA), {"dt": 0.5}),
        (solvers.EdgeFlow(ETA), solvers.EdgeFlow(ETA), {"integrator": solvers.Euler()}),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["spread", "gathered"])
def test_processes_that_call_solve_differently_are_refused(kind, first, second, change):
    """Their shares would move by different rules, or one would wait for the others for ever."""
    risk, x, _ = problem(40)

    def prepared(processes):
        spread = kind == "spread"
        shared = SpreadRisk(risk, 40, processes) if spread else GatheredRisk(risk, processes)
        own = shared.own(x) if spread else x
        flow, more = (second, change) if processes.rank == 1 else (first, {})
        with pytest.raises(ValueError, match="arguments of solve must be the same"):
            solvers.solve(flow, shared, own, **{"steps": 2, **more})
        solution = solvers.solve(first, shared, own, steps=1)
        return solution.losses.tolist()

    one, *others = in_lockstep(3, prepared)
    assert others == [one] * 2 == [solvers.solve(first, risk, x, steps=1).losses.tolist()] * 2


def test_a_flow_that_shows_its_address_only_is_the_same_on_all():
    class Plain(solvers.GradientDescent):
        __repr__ = object.__repr__

    risk, x, _ = problem(40)

    def prepared(processes):
        shared = SpreadRisk(risk, 40, processes)
        return solvers.solve(Plain(ETA), shared, shared.own(x), steps=2).losses.tolist()

    one = solvers.solve(Plain(ETA), risk, x, steps=2).losses.tolist()
    assert in_lockstep(3, prepared) == [one] * 3
