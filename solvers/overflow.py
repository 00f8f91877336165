"""Diagnosis of a non-finite state: insufficient precision or divergence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.objective import all_finite
from solvers.state import State
from solvers.stepping import Advance

# A divergence keeps growing; a state that only passed through large numbers has returned after this many steps.
_PROBED_STEPS = 10


def overflow_reason(objective: Any, state: State, stepper: Callable[[Any], Advance]) -> str:
    """Why the step from `state` is not finite.

    A float32 run is continued in float64. Precision was the cause if that stays finite and ends within the range of float32.

    Parameters
    ----------
    objective : Objective
        Where it computes in a fixed precision, its ``as_float64()`` is the same objective in double precision.
    state : State
        The last finite state.
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
