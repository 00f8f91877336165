"""A flow and an objective of a user's own, as somebody would write them."""

from dataclasses import dataclass

import numpy as np

import solvers


@dataclass(frozen=True)
class HeavyBall(solvers.DiscreteFlow):
    """x_{k+1} = x_k − η∇E(x_k) + β(x_k − x_{k−1}); the state is the pair (x_k, x_{k−1})."""

    learning_rate: float
    momentum: float = 0.5

    def start(self, objective, x0):
        return np.stack([x0, x0])

    def center(self, step, state):
        return state[0]

    def fluctuation(self, step, state):
        return np.zeros_like(state[0])

    def predicted_loss(self, objective, step, state):
        return float(objective.value(state[0]))

    def step(self, objective, step, state):
        x, before = state
        moved = x - self.learning_rate * objective.gradient(x) + self.momentum * (x - before)
        return np.stack([moved, x])


class Bowl:
    """E(x) = ½ Σᵢ aᵢ xᵢ², with a counter of its gradients as users have it."""

    def __init__(self, curvatures):
        self.curvatures = np.asarray(curvatures, dtype=float)
        self.calls = 0

    def value(self, x):
        return 0.5 * float(np.sum(self.curvatures * x**2))

    def gradient(self, x):
        self.calls += 1
        return self.curvatures * x

    def hvp(self, x, v):
        return self.curvatures * v
