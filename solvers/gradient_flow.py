"""The gradient flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.flow import ContinuousFlow, check_learning_rate
from solvers.objective import Array, inner


@dataclass(frozen=True)
class GradientFlow(ContinuousFlow):
    """The gradient flow ẇ = −η ∇E(w), with time counted in iterations of gradient descent.

    It has no fluctuation; its free energy is E, with dE/dt = −η |∇E|² = −|ẇ|²/η.

    Parameters
    ----------
    learning_rate : float
        η > 0.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)

    def start(self, objective: Any, x0: Array) -> Array:
        return x0

    def rates(self, objective: Any, time: float, state: Array) -> tuple[Array, float]:
        velocity = state.dtype.type(-self.learning_rate) * objective.gradient(state)
        return velocity, -inner(objective, velocity, velocity) / self.learning_rate

    def center(self, step: int, state: Array) -> Array:
        return state

    def fluctuation(self, step: int, state: Array) -> Array:
        return np.zeros_like(state)

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return float(objective.value(state))
