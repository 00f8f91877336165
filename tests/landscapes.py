"""Small objectives with every derivative written out, for the solvers' tests."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Valley:
    """E(x, y) = ½ (y + ζx) x² − ε(x + y): its floor x ≈ 0 has sharpness y, and the drift along it sharpens."""

    zeta: float = 1.0
    epsilon: float = 0.01

    def value(self, p):
        x, y = p
        return 0.5 * (y + self.zeta * x) * x**2 - self.epsilon * (x + y)

    def gradient(self, p):
        x, y = p
        return np.array([(y + 1.5 * self.zeta * x) * x - self.epsilon, 0.5 * x**2 - self.epsilon])

    def hvp(self, p, v):
        x, y = p
        return np.array([(y + 3 * self.zeta * x) * v[0] + x * v[1], x * v[0]])

    def third(self, p, u):
        return np.array([3 * self.zeta * u[0] ** 2 + 2 * u[0] * u[1], u[0] ** 2])


@dataclass(frozen=True)
class Quadratic:
    """E(x) = ½ xᵀ A x with a symmetric matrix A."""

    matrix: np.ndarray

    def value(self, x):
        return 0.5 * float(x @ self.matrix @ x)

    def gradient(self, x):
        return self.matrix @ x

    def hvp(self, x, v):
        return self.matrix @ v


class WithoutThird:
    """The same objective, its third derivative hidden."""

    def __init__(self, objective):
        self.value, self.gradient, self.hvp = objective.value, objective.gradient, objective.hvp
