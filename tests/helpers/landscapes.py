"""Small objectives with every derivative written out, for the solvers' tests."""

from dataclasses import dataclass
from functools import cached_property

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


@dataclass(frozen=True)
class SharedRiver:
    """E = ½ xᵀ S(s) x + ½ ζ Σ x_i³ + ½ Σ b_i p_i² − ε(Σ x_i + Σ p_i + s_0), S(s) = Σ_k s_k A_k, three fast coordinates x.

    The six A_k, of which A_0 is the identity and the others have no trace, span the symmetric matrices: once at the edge all
    three modes are held there, by a covariance (2ε/3) I at rest. The curvatures b of the other coordinates fill [0, 3]. All
    coordinates are mixed by a rotation.
    """

    zeta: float = 0.5
    epsilon: float = 0.01
    others: int = 51

    @cached_property
    def _basis(self):
        rng = np.random.default_rng(5)
        a = rng.standard_normal((6, 3, 3))
        a[0] = np.eye(3)
        a[1:] += a[1:].transpose(0, 2, 1)
        a[1:] -= np.trace(a[1:], axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
        return a

    @cached_property
    def _rotation(self):
        rng = np.random.default_rng(6)
        return np.linalg.qr(rng.standard_normal((9 + self.others, 9 + self.others)))[0]

    @cached_property
    def _curvatures(self):
        return np.linspace(0.0, 3.0, self.others)

    def point(self, x, s):
        """w of x (3,) and s (6,), the other coordinates at rest."""
        return self._rotation @ np.concatenate([x, s, np.zeros(self.others)])

    def _parts(self, w):
        z = self._rotation.T @ w
        return z[:3], z[3:9], z[9:]

    def value(self, w):
        x, s, p = self._parts(w)
        curved = 0.5 * x @ np.tensordot(s, self._basis, axes=1) @ x + 0.5 * self.zeta * np.sum(x**3)
        drift = np.sum(x) + np.sum(p) + s[0]
        return float(curved + 0.5 * np.sum(self._curvatures * p**2) - self.epsilon * drift)

    def gradient(self, w):
        x, s, p = self._parts(w)
        by_x = np.tensordot(s, self._basis, axes=1) @ x + 1.5 * self.zeta * x**2 - self.epsilon
        by_s = 0.5 * np.einsum("kij,i,j->k", self._basis, x, x) - self.epsilon * np.eye(6)[0]
        by_p = self._curvatures * p - self.epsilon
        return self._rotation @ np.concatenate([by_x, by_s, by_p])

    def hvp(self, w, v):
        x, s, _ = self._parts(w)
        dx, ds, dp = self._parts(v)
        across = np.einsum("kij,j->ki", self._basis, x)
        by_x = np.tensordot(s, self._basis, axes=1) @ dx + 3 * self.zeta * x * dx + ds @ across
        return self._rotation @ np.concatenate([by_x, across @ dx, self._curvatures * dp])

    def third(self, w, u):
        dx, ds, _ = self._parts(u)
        by_x = 2 * np.tensordot(ds, self._basis, axes=1) @ dx + 3 * self.zeta * dx**2
        by_s = np.einsum("kij,i,j->k", self._basis, dx, dx)
        return self._rotation @ np.concatenate([by_x, by_s, np.zeros(self.others)])
