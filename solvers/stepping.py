"""Time stepping of a flow's state from one iteration to the next."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from solvers._support.arguments import instance, real, refusal
from solvers.flow import ContinuousFlow, DiscreteFlow, Flow, SteppedFlow
from solvers.integrators import RK4, Integrator, Stabilized, as_integrator
from solvers.long_steps import by_long_steps
from solvers.objective import Array, all_finite, is_spread, with_own_results
from solvers.scheduled_flow import Scheduled
from solvers.state import State

# `ContinuousFlow.few_integrator` is for vectors of at most so many coordinates: there an evaluation costs less than what is done
# about it, and accuracy next to nothing.
FEW = 100
_DELAY_DT = 0.25
DELAY_ARRAYS = 10  # `Flow.step_arrays` of a flow with a delay
_STEPS_AT_ONCE = 2**22  # some tenths of a second in two coordinates

Advance = Callable[[State], State]
Move = Callable[[float, Array, float], tuple[Array, float]]  # of a time, a state and dt


def stepper(
    flow: Flow,
    objective: Any,
    dt: float | None = None,
    integrator: Integrator | str | None = None,
    steps: int = 1,
) -> Advance:
    """The map from a state to the next observed one: one iteration later, or dt iterations if dt > 1."""
    instance("flow", flow, Flow, "for instance GradientDescent(0.1)")
    objective = with_own_results(objective)
    if isinstance(flow, Scheduled):
        return _by_schedule(flow, objective, dt, integrator, steps)
    if is_spread(objective) and not is_particlewise(flow, dt, integrator):
        raise ValueError(
            f"objective must have all particles on one rank for {type(flow).__name__}, got particles distributed over ranks"
        )
    if isinstance(flow, DiscreteFlow):
        _refuse(flow, "dt", dt)
        _refuse(flow, "integrator", integrator)
        return lambda s: s.moved(1, flow.step(objective, s.step, s.values), s.dissipated)
    if isinstance(flow, SteppedFlow):
        _refuse(flow, "integrator", integrator)
        return _by_own_scheme(flow, objective, _Clock(flow.default_dt if dt is None else dt, steps))
    if not isinstance(flow, ContinuousFlow):
        raise refusal("flow", "a DiscreteFlow, SteppedFlow or ContinuousFlow", flow)
    if flow.delay:
        _refuse(flow, "integrator", integrator)
        return _by_method_of_steps(flow, objective, _DELAY_DT if dt is None else dt)
    is_default = integrator is None and dt is None
    integrator = _chosen(flow, dt, integrator)
    if integrator.default_dt is None:
        _refuse(integrator, "dt", dt)
        dt = 1.0
    elif dt is None:
        dt = integrator.default_dt
    if isinstance(integrator, Stabilized):
        advance = by_long_steps(flow, objective, integrator)
        few = flow.few_integrator if is_default else None
        return _by_size(
            flow,
            advance,
            by_long_steps(flow, objective, few) if isinstance(few, Stabilized) else None,
        )
    return _by_integrator(flow, objective, integrator, _Clock(dt, steps))


def stride(dt: float | None) -> int:
    """Iterations between two states that `stepper` returns."""
    return 1 if dt is None or dt < 1 else int(dt)


def prepared(flow: Flow, objective: Any, state: State, dt: float | None, steps: int) -> State:
    """The start state, completed by what the flow's own scheme adds depending on dt."""
    flow = flow.at(state.step)
    if not isinstance(flow, SteppedFlow):
        return state
    clock = _Clock(flow.default_dt if dt is None else dt, steps)
    completed = flow.prepare(objective, state.values, clock.dt)
    return state if completed is None else replace(state, values=completed[0], report=completed[1])


def leap(flow: Flow, objective: Any, state: State, before: int) -> State:
    """The state as near to the step `before` as the flow gets in one call; unchanged where it takes steps one by one.

    The call stops before a divergence, and after a bounded number of steps, so that the run can be interrupted.
    """
    steps = min(before - state.step, _STEPS_AT_ONCE)
    if steps < 1 or not isinstance(flow, DiscreteFlow):
        return state
    values, done = flow.leap(objective, state.values, steps)
    return state.moved(done, values, state.dissipated) if done else state


def is_particlewise(
    flow: Flow, dt: float | None = None, integrator: Integrator | str | None = None
) -> bool:
    """Whether flow and integrator can move a part of the particles, see `Flow.particlewise`."""
    if isinstance(flow, Scheduled):
        flow = flow.flow
    if not isinstance(flow, ContinuousFlow) or flow.delay:
        return flow.particlewise
    return flow.particlewise and _chosen(flow, dt, integrator).entrywise


def _chosen(
    flow: ContinuousFlow, dt: float | None, integrator: Integrator | str | None
) -> Integrator:
    if integrator is not None:
        return as_integrator(integrator)
    return flow.default_integrator if dt is None else RK4()


def _refuse(what: object, name: str, value: object) -> None:
    if value is not None:
        raise refusal(name, f"None for {what!r}, which has its own steps in time", value)


def _by_size(flow: ContinuousFlow, many: Advance, few: Advance | None) -> Advance:
    """The step of a state of many coordinates or of few."""
    if few is None:
        return many

    def advance(state: State) -> State:
        x = flow.center(state.step, state.values)
        return few(state) if x.ndim == 1 and x.size <= FEW else many(state)

    return advance


class _Clock:
    """dt as a number of equal steps per iteration, or of iterations per step."""

    def __init__(self, dt: object, steps: int) -> None:
        self.substeps, self.stride = 1, 1
        value = real("dt", dt, least=1e-6)
        if value >= 1 and value.is_integer() and steps % int(value) == 0:
            self.stride = int(value)
        elif 0 < value < 1 and abs(1 / value - round(1 / value)) <= 1e-9 / value:
            self.substeps = round(1 / value)
        else:
            raise ValueError(
                f"dt must be 1/m for an integer m ≥ 1, or an integer that divides steps = {steps}, got {dt!r}"
            )
        self.dt = self.stride / self.substeps


def _by_schedule(
    flow: Scheduled,
    objective: Any,
    dt: float | None,
    integrator: Integrator | str | None,
    steps: int,
) -> Advance:
    """The step of the rate that is in force; where the next one begins, the state is handed on."""
    schedule = flow.schedule
    advances = [stepper(part, objective, dt, integrator, steps) for part in flow.flows]
    if any(step % stride(dt) for step in schedule.steps):
        raise refusal(
            "dt", f"one that divides the steps {schedule.steps} of the learning rates", dt
        )

    def advance(state: State) -> State:
        before = schedule.part(state.step)
        moved = advances[before](state)
        after = schedule.part(moved.step)
        if after == before or not all_finite(objective, moved.values):
            return moved
        ratio = schedule.rates[after] / schedule.rates[before]
        values = flow.flows[after].carried(objective, moved.step, moved.values, ratio)
        switched = replace(moved, values=values, history=None, scheme={}, dissipated=math.nan)
        return prepared(flow, objective, switched, dt, steps)

    return advance


def _by_own_scheme(flow: SteppedFlow, objective: Any, clock: _Clock) -> Advance:
    def advance(state: State) -> State:
        values, dissipated, report = state.values, state.dissipated, dict[str, float]()
        for _ in range(clock.substeps):
            values, told = flow.advance_reporting(objective, values, clock.dt)
            dissipated += told.pop("dissipated", math.nan)
            report |= {key: max(value, report.get(key, value)) for key, value in told.items()}
        return state.moved(clock.stride, values, dissipated, report=report)

    return advance


def _by_integrator(
    flow: ContinuousFlow, objective: Any, integrator: Integrator, clock: _Clock
) -> Advance:
    move = _with_energy(flow, objective, integrator)
    if not flow.knows_its_rate:
        move = _without_energy(flow, objective, integrator)

    def advance(state: State) -> State:
        values, dissipated = state.values, state.dissipated
        for i in range(clock.substeps):
            values, change = move(state.step + i * clock.dt, values, clock.dt)
            values = flow.constrain(objective, values)
            dissipated += change
        step = state.step + clock.stride
        values = flow.disturb(objective, step, values, clock.stride)
        return state.moved(clock.stride, values, dissipated)

    return advance


def _with_energy(flow: ContinuousFlow, objective: Any, integrator: Integrator) -> Move:
    """A step of the state, and the change of the free energy along it."""

    def velocity(t: float, y: Array, shape: tuple[int, ...]) -> Array:
        # The dissipated energy is integrated as one more coordinate, so that its balance has the order of the scheme.
        values, rate = flow.rates(objective, t, y[:-1].reshape(shape))
        return np.append(values.ravel(), y.dtype.type(rate))

    def move(t: float, values: Array, dt: float) -> tuple[Array, float]:
        shape = values.shape
        # The contribution of each step starts from zero and is summed in float64 whatever the state's precision.
        y = np.append(values.ravel(), values.dtype.type(0.0))
        y = integrator.advance(lambda t, y: velocity(t, y, shape), t, y, dt)
        return y[:-1].reshape(shape), float(y[-1])

    return move


def _without_energy(flow: ContinuousFlow, objective: Any, integrator: Integrator) -> Move:
    """A step of a flow that gives its velocity only: how the free energy changes is not known."""

    def move(t: float, values: Array, dt: float) -> tuple[Array, float]:
        shape = values.shape

        def velocity(t: float, y: Array) -> Array:
            return flow.velocity(objective, t, y.reshape(shape)).ravel()

        return integrator.advance(velocity, t, values.ravel(), dt).reshape(shape), math.nan

    return move


def _by_method_of_steps(flow: ContinuousFlow, objective: Any, dt: float) -> Advance:
    """The midpoint rule z_{j+1} = z_j + dt V(z(t_j + dt/2 − ½)) of the delay equation ż(t) = V(z(t − ½)), dt = 1/m.

    The delayed time is on the time grid for odd m, otherwise half-way between two points, whose mean is taken: order two. At
    dt = 1 it is t_j itself, and the step is that of gradient descent. Before t = 0 the history is z_0 + tV(z_0).
    """
    clock = _Clock(dt, steps=1)
    lag = (clock.substeps - 1) / 2  # in steps of dt
    near, far = math.floor(lag), math.ceil(lag)

    def past(state: State) -> list[Array]:
        if state.history is None:
            v = flow.velocity(objective, state.step, state.values)
            return [
                state.values - state.values.dtype.type(j * clock.dt) * v for j in range(far, 0, -1)
            ]
        if len(state.history) != far:
            raise ValueError(
                f"x0 must have a history of {far} states for dt = {clock.dt}, got {len(state.history)}"
            )
        return list(state.history)

    def advance(state: State) -> State:
        states = [*past(state), state.values]
        step = state.values.dtype.type(clock.dt)
        for i in range(clock.substeps):
            delayed = states[-1 - near]
            if far != near:
                delayed = 0.5 * (delayed + states[-1 - far])
            v = flow.velocity(objective, state.step + (i - lag) * clock.dt, delayed)
            states.append(flow.constrain(objective, states[-1] + step * v))
            states = states[-1 - far :]
        values = flow.disturb(objective, state.step + 1, states[-1], 1)
        history = np.stack(states[:-1]) if far else np.empty((0, *values.shape), values.dtype)
        return state.moved(1, values, state.dissipated, history)

    return advance
