"""The state of a run, and how a flow continues from its own or another flow's state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from solvers._support.arguments import array, count, methods, refusal
from solvers._support.reprs import compact_repr
from solvers.flow import Flow, WithoutFluctuation, as_iterate
from solvers.objective import (
    Array,
    all_finite,
    check_like,
    checked_gradient,
    peak,
    with_own_results,
)

#: key of `State.scheme`: whether the step was begun with another object for the objective
OTHER_OBJECTIVE = "other_objective"


@dataclass(frozen=True)
class State:
    """The state of a run: all that is needed to continue it, bit for bit.

    Attributes
    ----------
    step : int
        Iterations done.
    values : array
        The flow's state.
    dissipated : float
        ∫ (dF/dt) dt since the start of the run, NaN where the scheme does not give it.
    history : array or None
        For a delay equation, the earlier states, one time step apart, oldest first; for a scheme whose steps cover several
        iterations, the arrays of the step that it is in.
    report : dict
        Diagnostics of the scheme's steps since the last state, the maximum by name.
    scheme : dict
        The numbers of the step that a scheme of long steps is in.
    flow, objective
        What `solve` was integrating; a state without them is accepted as one of any flow. The objective is not pickled.

    Examples
    --------
    Two steps and two more are four:

    >>> parabola = meanfield.landscapes.Landscape(lambda x: 2 * x[0] ** 2)
    >>> descent = solvers.GradientDescent(0.4)
    >>> half = solvers.solve(descent, parabola, [1.0], steps=2)
    >>> rest = solvers.solve(descent, parabola, half.state, steps=2)
    >>> whole = solvers.solve(descent, parabola, [1.0], steps=4)
    >>> rest.state.step, np.array_equal(rest.iterates[-1], whole.iterates[-1])
    (4, True)
    """

    step: int
    values: Array
    dissipated: float
    history: Array | None = None
    report: Mapping[str, float] = field(default_factory=dict)
    flow: Flow | None = field(default=None, compare=False)
    objective: Any = field(default=None, repr=False, compare=False)
    scheme: Mapping[str, float] = field(default_factory=dict)

    __repr__ = compact_repr

    def __post_init__(self) -> None:
        if type(self.step) is not int:
            object.__setattr__(self, "step", count("step", self.step, 0))
        values: Any = self.values
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            values = array("values", values)
        # Sums run in memory order, which must be the same for a state that was stored and read again.
        object.__setattr__(self, "values", np.ascontiguousarray(values))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"objective": None}

    def moved(
        self,
        steps: int,
        values: Array,
        dissipated: float,
        history: Array | None = None,
        report: Mapping[str, float] | None = None,
        scheme: Mapping[str, float] | None = None,
    ) -> State:
        """The state of the same flow `steps` iterations later."""
        return State(
            self.step + steps,
            values,
            dissipated,
            history,
            report or {},
            self.flow,
            self.objective,
            scheme or {},
        )


def start(flow: Flow, objective: Any, x0: Any) -> tuple[State, str]:
    """The state at t = 0, and a message about it.

    Raises
    ------
    ValueError
        For a start or an objective that the flow cannot use.
    """
    x = as_iterate(x0)
    gradient = checked_gradient(objective, x, flow.needs, type(flow).__name__)
    own = with_own_results(objective)
    values = flow.start(own, x)
    if not all_finite(objective, values):
        raise ValueError("x0 must be a point with a finite gradient, got one without")
    message = ""
    if peak(objective, gradient) == 0.0:
        message = "x0 is a critical point: nothing leaves it and no oscillation ever starts"
    dissipated = 0.0 if flow.balanced else math.nan
    return State(0, values, dissipated, flow=flow, objective=objective), message


def resume(flow: Flow, objective: Any, state: State) -> tuple[State, str]:
    """The state from which a flow continues, given its own or another flow's, and a message about it.

    Raises
    ------
    ValueError
        For a state that does not fit the objective, or from which this flow cannot continue.
    """
    methods("objective", objective, flow.needs, type(flow).__name__)
    if state.flow is not None and not _same(flow, state.flow):
        part, before = flow.at(state.step), state.flow.at(state.step)
        x = _iterate(part, state, before)
        started, message = start(part, objective, x)
        values = started.values if state.step % 2 == 0 else flow.mirrored(started.values)
        rule = getattr(before, "flow", before)  # one that is taken on batches
        begun = part.begun(with_own_results(objective), state.step, rule, state.values)
        values = values if begun is None else begun
        return replace(started, step=state.step, values=values, flow=flow), message
    # Copies: those of an observation are read-only.
    history = None if state.history is None else np.array(state.history)
    state = replace(state, values=np.array(state.values), history=history)
    try:
        center = flow.center(state.step, state.values)
        flow.fluctuation(state.step, state.values)
    except (LookupError, TypeError, ValueError) as error:
        raise refusal("x0", f"a state of {flow!r}", state) from error
    if state.objective is not None and state.objective is not objective:
        try:
            check_like("gradient", objective.gradient(center), center)
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise ValueError(
                f"x0 must be a state of this objective, got one of shape {center.shape}: {error}"
            ) from error
    scheme = dict(state.scheme)
    if scheme and state.objective is not None and state.objective is not objective:
        scheme[OTHER_OBJECTIVE] = (
            1.0  # a step of many iterations goes on if it is one of this objective, too
        )
    return replace(state, flow=flow, objective=objective, scheme=scheme), ""


def _iterate(flow: Flow, state: State, before: Flow) -> Array:
    """The iterate of another flow's state, from which this one starts."""
    iterate = before.iterate(state.step, state.values)
    if iterate is not None:
        return iterate
    center = before.center(state.step, state.values)
    if isinstance(before, WithoutFluctuation):
        return center
    fluctuation = before.fluctuation(state.step, state.values)
    is_descent = type(flow).iterate is not Flow.iterate
    if is_descent and before.labelled and fluctuation.shape == center.shape:
        return center + fluctuation if state.step % 2 == 0 else center - fluctuation
    or_iterate = ", or from its iterate, center + (−1)^step fluctuation" if before.labelled else ""
    raise ValueError(
        f"x0 must be a state of {flow!r}, or one that stands for an iterate from which it can start, got a state of {before!r}; "
        f"start from that run's solution.centers[-1]{or_iterate}"
    )


def _same(flow: Flow, other: Flow) -> bool:
    """Whether two flows are of one class and have the same parameters."""
    if flow is other:
        return True
    if type(flow) is not type(other):
        return False
    names = [f.name for f in fields(flow)] if is_dataclass(flow) else list(vars(flow))
    return all(np.array_equal(getattr(flow, name), getattr(other, name)) for name in names)
