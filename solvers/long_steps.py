"""Time stepping by schemes whose steps may cover several iterations: the iterations within a step are interpolated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers.flow import ContinuousFlow
from solvers.integrators.base import SchemeError
from solvers.integrators.stabilized import Stabilized, Step
from solvers.objective import Array, inner, norm, peak
from solvers.state import OTHER_OBJECTIVE, State

# A state whose velocity grows by this factor within an iteration in which steps become too short diverges.
_DIVERGED = 10.0
# Steps of the most stages that an iteration may take.
_STIFFEST = 100
_ARRAYS = ("y0", "f0", "y1", "f1", "direction")
_NUMBERS = ("begin", "end", "following", "error", "radius", "scale")
# of the dissipated energy within the step, the last entries of f0, y1, f1
_ENERGIES = {"rate_before": "f0", "gained": "y1", "rate_after": "f1"}


@dataclass(frozen=True)
class _FlowMotion:
    """The motion of a flow's state, shape `shape`, and of the energy that it dissipates: the last entry of a vector."""

    flow: ContinuousFlow
    objective: Any
    shape: tuple[int, ...]

    def velocity(self, t: float, y: Array) -> Array:
        state = y[:-1].reshape(self.shape)
        if self.flow.knows_its_rate:
            values, rate = self.flow.rates(self.objective, t, state)
        else:
            values, rate = self.flow.velocity(self.objective, t, state), 0.0
        return _joined(values, rate, y.dtype)

    def parts(self, y: Array) -> Sequence[Array]:
        return self.flow.parts(y[:-1].reshape(self.shape))

    def norms(self, y: Array) -> list[float]:
        return [norm(self.objective, part) for part in self.parts(y)]

    def units(self, y: Array) -> list[float]:
        return self.flow.units(self.objective, y[:-1].reshape(self.shape))

    def stiff(self, y: Array) -> list[bool]:
        stiff = [False] * len(self.parts(y))
        stiff[self.flow.stiff] = [True] * len(stiff[self.flow.stiff])
        return stiff

    def growths(self, y: Array, f: Array) -> list[float]:
        parts, rates = self.parts(y), self.parts(f)
        growths = [0.0] * len(parts)
        for index in range(len(parts))[self.flow.growing]:
            growths[index] = self._growth(parts[index], rates[index])
        return growths

    def _growth(self, u: Array, u_dot: Array) -> float:
        """⟨u, u̇⟩/|u|², safe from underflow."""
        scale = peak(self.objective, u)
        if scale < np.finfo(u.dtype).tiny:
            return 0.0
        q = u / u.dtype.type(scale)
        growth = inner(self.objective, q, u_dot / u.dtype.type(scale)) / inner(self.objective, q, q)
        return growth if math.isfinite(growth) else 0.0


def _joined(values: Array, energy: float, dtype: Any) -> Array:
    """A state and an energy as one vector."""
    y = np.empty(values.size + 1, dtype)
    y[:-1], y[-1] = values.ravel(), energy
    return y


def by_long_steps(
    flow: ContinuousFlow, objective: Any, scheme: Stabilized
) -> Callable[[State], State]:
    """The map from a state to the one an iteration later, in the step that it is in or in those that follow."""

    def advance(state: State) -> State:
        motion = _FlowMotion(flow, objective, state.values.shape)
        found = _restored(state, scheme)
        if found is not None and OTHER_OBJECTIVE in state.scheme:
            found = _of_this_objective(motion, *found)
        if found is None:
            dissipated = state.dissipated
            step = scheme.begin(motion, state.step, _joined(state.values, 0.0, state.values.dtype))
        else:
            dissipated, step = found
        target, first = state.step + 1, step
        for _ in range(scheme.max_steps):
            if step.end >= target:
                break
            # the energy of each step starts from zero, and is summed in double precision
            dissipated += float(step.y1[-1])
            if step.radius > _STIFFEST * scheme.reach:
                too_stiff = f"steps of the most stages did not reach 1/{_STIFFEST} of an iteration: the flow is too stiff"
                raise _stopped(motion, first, step, SchemeError(too_stiff))
            step = _next(flow, objective, motion, scheme, step)
        if step.end < target:
            raise _stopped(motion, first, step, scheme.too_stiff())
        y = step.at(motion, target)
        values = y[:-1].reshape(motion.shape)
        gained = float(y[-1]) if flow.knows_its_rate else math.nan
        history = np.stack([getattr(step, name)[:-1].reshape(motion.shape) for name in _ARRAYS])
        numbers = _numbers(step, dissipated, scheme)
        return state.moved(1, values, dissipated + gained, history, scheme=numbers)

    return advance


def _stopped(
    motion: _FlowMotion, first: Step, last: Step, otherwise: SchemeError
) -> ArithmeticError:
    """What ends a run whose steps became too short within an iteration: a divergence where it moves ever faster."""
    speeds = zip(motion.norms(first.f1), motion.norms(last.f1), strict=True)
    if any(after > _DIVERGED * before > 0.0 for before, after in speeds):
        return FloatingPointError("the state grows faster than any step can follow")
    return otherwise


def _next(
    flow: ContinuousFlow,
    objective: Any,
    motion: _FlowMotion,
    scheme: Stabilized,
    step: Step,
) -> Step:
    """The next step, its end constrained and disturbed."""
    start = step.y1.copy()
    start[-1] = 0.0
    step = replace(step, y1=start)
    late = flow.horizon(objective, step.y1[:-1].reshape(motion.shape))
    stop = math.floor(step.end) + late
    made = scheme.proceed(motion, step, stop)
    if late == math.inf:
        return made
    values = flow.constrain(objective, made.y1[:-1].reshape(motion.shape).copy())
    if made.end == math.floor(made.end):
        values = flow.disturb(objective, int(made.end), values, 1)
    if np.array_equal(values.ravel(), made.y1[:-1]):
        return made
    return scheme.restarted(motion, made, _joined(values, float(made.y1[-1]), values.dtype))


def _of_this_objective(
    motion: _FlowMotion, dissipated: float, step: Step
) -> tuple[float, Step] | None:
    """A step that was begun with another object for the objective; None unless the velocity at its end is that of this one.

    The stored one was computed in comoving variables and differs by rounding; another objective differs by far more.
    """
    apart = np.abs(motion.velocity(step.end, step.y1) - step.f1)
    tolerance = float(np.finfo(apart.dtype).eps) ** 0.5
    same = peak(motion.objective, apart) <= tolerance * peak(motion.objective, step.f1)
    return (dissipated, step) if same else None


def _numbers(step: Step, dissipated: float, scheme: Stabilized) -> Mapping[str, float]:
    """The numbers of a step, with the energy dissipated before it."""
    numbers = {name: float(getattr(step, name)) for name in _NUMBERS}
    numbers |= {name: float(getattr(step, of)[-1]) for name, of in _ENERGIES.items()}
    kinds = {"age": step.age, "order": scheme.order, "by": step.order}
    return numbers | kinds | {"dissipated": float(dissipated)}


def _restored(state: State, scheme: Stabilized) -> tuple[float, Step] | None:
    """The energy dissipated before the step that a state is in, and the step; None where it is in none of this scheme."""
    numbers, history = state.scheme, state.history
    if history is None or history.shape != (len(_ARRAYS), *state.values.shape):
        return None
    names = {*_NUMBERS, *_ENERGIES, "age", "order", "by", "dissipated"}
    if not names <= numbers.keys() or numbers["order"] != scheme.order:
        return None
    if not numbers["begin"] <= state.step <= numbers["end"]:
        return None
    energies = {of: numbers[name] for name, of in _ENERGIES.items()}
    y0, f0, y1, f1, direction = (
        _joined(array, energies.get(name, 0.0), history.dtype)
        for name, array in zip(_ARRAYS, history, strict=True)
    )
    begin, end, following, error, radius, scale = (numbers[name] for name in _NUMBERS)
    age, by = int(numbers["age"]), int(numbers["by"])
    step = Step(begin, end, y0, f0, y1, f1, following, error, radius, direction, age, scale, by)
    return numbers["dissipated"], step
