"""Of a state that is not finite: whether the numbers were too short or the run diverged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.objective import all_finite
from solvers.state import State
from solvers.stepping import Advance

# A divergence keeps growing; what only passed through a large number has come back after so many steps.
_PROBED_STEPS = 10


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
        or not all_finite(in_double, values)
        or not all_finite(in_double, values.astype(np.float32))
    ):
        return otherwise
    return "float32 overflow, the state is not finite; dtype = 'float64' holds it"
