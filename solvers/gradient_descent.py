"""Gradient descent, read as a center and a fluctuation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.flow import DiscreteFlow, check_learning_rate
from solvers.objective import Array


@dataclass(frozen=True)
class GradientDescent(DiscreteFlow):
    """Gradient descent x_{k+1} = x_k − η ∇E(x_k).

    Consecutive iterates are read as a center and an alternating fluctuation,

        x_k = w_k + (−1)^k u_k,    x_{k+1} = w_k − (−1)^k u_k,

    that is w_k = (x_k + x_{k+1})/2 and u_k = (−1)^k (η/2) ∇E(x_k): nothing is approximated, and one gradient is spent per
    step. The predicted loss is the mean of E over the two endpoints.

    Parameters
    ----------
    learning_rate : float
        η > 0.

    Raises
    ------
    ValueError
        For a learning rate that is not a finite number above zero.

    References
    ----------
    The decomposition: Regis, Chewi, arXiv:2602.01480; the free energy: Chodron de Courcel, arXiv:2606.05326.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        check_learning_rate(self.learning_rate)

    def start(self, objective: Any, x0: Array) -> Array:
        """The pair (x_0, x_1), shape (2, *x)."""
        return np.stack([x0, self._descend(objective, x0)])

    def step(self, objective: Any, step: int, state: Array) -> Array:
        return np.stack([state[1], self._descend(objective, state[1])])

    def center(self, step: int, state: Array) -> Array:
        return 0.5 * (state[0] + state[1])

    def fluctuation(self, step: int, state: Array) -> Array:
        return (0.5 if step % 2 == 0 else -0.5) * (state[0] - state[1])

    def iterate(self, step: int, state: Array) -> Array:
        return state[0]

    def predicted_loss(self, objective: Any, step: int, state: Array) -> float:
        return 0.5 * float(objective.value(state[0]) + objective.value(state[1]))

    def _descend(self, objective: Any, x: Array) -> Array:
        descended: Array = x - x.dtype.type(self.learning_rate) * objective.gradient(x)
        return descended
