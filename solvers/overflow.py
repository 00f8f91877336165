"""Whether a state is finite; and of one that is not, whether the numbers were too short or the run diverged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.objective import Array
from solvers.stepping import Advance, State

# A divergence keeps growing; what only passed through a large number has come back after so many steps.
_PROBED_STEPS = 10


def is_finite(values: Array) -> bool:
    """Whether all entries are finite.

    Squares do not cancel, so a finite sum of them settles it, at half the cost. Where it overflows every entry is looked at.
    """
    flat = values.ravel()
    return math.isfinite(float(np.dot(flat, flat))) or bool(np.all(np.isfinite(flat)))


def overflow_reason(objective: Any, state: State, stepper: Callable[[Any], Advance]) -> str:
    """Why the step from `state` is not finite.

    A float32 run is taken on in float64. It was the precision if that stays finite, and is within float32's range in the end.

    Parameters
    ----------
    objective : Objective
        Where it computes in a precision of its own, its ``as_float64()`` is the same in double precision.
    state : State
        The last that is finite.
    stepper : callable
        Objective ↦ the map from a state to the next.
    """
    otherwise = "the state is not finite"
    if state.values.dtype != np.float32:
        return otherwise
    in_double = getattr(objective, "as_float64", lambda: objective)()
    history = None if state.history is None else state.history.astype(np.float64)
    following = State(state.step, state.values.astype(np.float64), state.dissipated, history)
    advance = stepper(in_double)
    try:
        for _ in range(_PROBED_STEPS):
            following = advance(following)
    except (ArithmeticError, ValueError):
        return otherwise
    values = following.values
    if (
        values.dtype != np.float64
        or not is_finite(values)
        or not is_finite(values.astype(np.float32))
    ):
        return otherwise
    return "float32 overflow, the state is not finite; dtype = 'float64' holds it"
