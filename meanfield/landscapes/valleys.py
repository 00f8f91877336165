"""Valleys whose sharpness increases along their floor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from meanfield.landscapes.base import Array, Formula, Reference
from solvers._support.arguments import count, real, settle


def _valley_gradient(p: Array, out: Array, zeta: float, epsilon: float) -> None:
    x, y = p[0], p[1]
    out[0] = (y + 1.5 * zeta * x) * x - epsilon
    out[1] = 0.5 * (x * x) - epsilon


@dataclass(frozen=True)
class Valley(Reference):
    """E(x, y) = ½ (y + ζx) x² − ε (x + y), the minimal example of the edge of stability's time scales.

    The floor x ≈ ε/y has sharpness y, and the slope ε along it sharpens until y = 2/η; from there on the oscillation of x, of
    steady size u² = 2ε, holds y. ζ makes the valley asymmetric, which damps the approach. E is unbounded below.

    Reference: from (0, 6) with η = 0.3 gradient descent first has y > 2/η at step 223, peaks at y = 7.4351 at step 481 and
    settles near the fixed point of the central flow, (−0.002995, 6.67565) with u² = 0.01999.

    Parameters
    ----------
    zeta, epsilon : float
        Asymmetry ζ and slope ε.

    Raises
    ------
    ValueError
        For a parameter that is not finite.

    Examples
    --------
    On the floor, x = 0, the sharpness is y.

    >>> valley = meanfield.landscapes.Valley(zeta=1.0, epsilon=0.01)
    >>> valley.value([1.0, 2.0])  # ½ (2 + 1) − 0.01 (1 + 2)
    1.47
    >>> valley.hvp([0.0, 6.0], [1.0, 0.0])
    array([6., 0.])
    """

    zeta: float = 1.0
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        settle(self, zeta=real("zeta", self.zeta))
        settle(self, epsilon=real("epsilon", self.epsilon))

    @property
    def start(self) -> tuple[float, ...]:
        return 0.0, 6.0

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return "x", "y"

    def _value(self, p: Array) -> float:
        x, y = p
        return 0.5 * (y + self.zeta * x) * x**2 - self.epsilon * (x + y)

    @property
    def _formula(self) -> Formula:
        return _valley_gradient, (float(self.zeta), float(self.epsilon))

    def _hvp(self, p: Array, v: Array) -> ArrayLike:
        x, y = p
        return [(y + 3 * self.zeta * x) * v[0] + x * v[1], x * v[0]]

    def _third(self, p: Array, u: Array) -> ArrayLike:
        return [3 * self.zeta * u[0] ** 2 + 2 * u[0] * u[1], u[0] ** 2]


@dataclass(frozen=True)
class RiverValley(Reference):
    """E(x, s) = ½ xᵀ S x + ½ ζ Σ x_i³ − ε (Σ x_i + y), a river along which one or two curvatures grow.

    Codimension one: S = y, coordinates (x, y); this is `Valley`. Codimension two: coordinates (x1, x2, y, z, q) and

        S = [[y + g/2 + z, κq], [κq, y − g/2 − z]],

    where y is the coordinate along the river, z separates the two curvatures and q rotates their axes. The gap g decides whether
    the modes become critical together or one after the other. Once both are critical, equilibrium in y, z and q requires
    fluctuations of |u|² = 2ε, of equal sizes and uncorrelated: a covariance Σ = ε I, of rank two. That of gradient descent is a
    single vector u, of rank one, so it can satisfy the balance only on average: u rotates forever, and neither mode dies out.
    With κ = 0 the two need not be uncorrelated, and u converges. E is unbounded below.

    Reference: start (0, 6) or (0, 0.02, 6, 0, 0), η = 0.3. Codimension two, with S₁ ≥ S₂ the eigenvalues of S: ηS₁ passes 2 at
    step 139, ηS₂ at 306. Over the last 4,000 of 200,000 steps ηS₁ stays in 2.00 to 2.11 and ηS₂ in 1.90 to 2.01, |x1| and |x2|
    both range from 0 to 0.295, u turns by 45 radians and the mean of u uᵀ is 0.0099 I within 0.0003. With g = 0 both pass 2 at
    step 223 and fluctuate likewise. With κ = 0, |u|² settles at 0.0200 and ηS₁ = ηS₂ at 2.0007. The start is off in x2 because
    with g = 0 and x1 = x2 the exchange of the two would be a symmetry that gradient descent keeps.

    Parameters
    ----------
    codimension : {1, 2}
        How many fast coordinates.
    zeta, epsilon : float
        Asymmetry ζ and slope ε.
    gap : float
        g, the difference of the curvatures at the start. Codimension two only.
    coupling : float
        κ. Codimension two only.

    Raises
    ------
    ValueError
        For another codimension, and a parameter that is not finite.

    Examples
    --------
    >>> valley = meanfield.landscapes.RiverValley(codimension=2, gap=0.5)
    >>> valley.parameter_names
    ('x1', 'x2', 'y', 'z', 'q')
    >>> start = np.array([0.0, 0.0, 6.0, 0.0, 0.0])
    >>> solvers.top_eigenpairs(valley, start, k=2).values.round(6)  # y ± g/2
    array([6.25, 5.75])
    """

    codimension: int = 1
    zeta: float = 1.0
    epsilon: float = 0.01
    gap: float = 0.5
    coupling: float = 1.0

    def __post_init__(self) -> None:
        settle(self, codimension=count("codimension", self.codimension, most=2))
        for name in ("zeta", "epsilon", "gap", "coupling"):
            settle(self, **{name: real(name, getattr(self, name))})

    @property
    def start(self) -> tuple[float, ...]:
        return (0.0, 6.0) if self.codimension == 1 else (0.0, 0.02, 6.0, 0.0, 0.0)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("x", "y") if self.codimension == 1 else ("x1", "x2", "y", "z", "q")

    @cached_property
    def _basis(self) -> Array:
        """∂S/∂s for the slow coordinates s: y, and with codimension two z and q."""
        if self.codimension == 1:
            return np.ones((1, 1, 1))
        k = self.coupling
        return np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]], [[0.0, k], [k, 0.0]]])

    def _split(self, p: Array) -> tuple[Array, Array]:
        return p[: self.codimension], p[self.codimension :]

    def _curvature(self, slow: Array) -> Array:
        """S."""
        gap = 0.5 * self.gap * self._basis[1] if self.codimension == 2 else 0.0
        return np.tensordot(slow, self._basis, 1) + gap

    def _value(self, p: Array) -> float:
        x, s = self._split(p)
        cubic = 0.5 * self.zeta * np.sum(x**3)
        return 0.5 * x @ self._curvature(s) @ x + cubic - self.epsilon * (np.sum(x) + s[0])

    def _gradient(self, p: Array) -> ArrayLike:
        x, s = self._split(p)
        slow = 0.5 * (self._basis @ x @ x)
        slow[0] -= self.epsilon
        return np.append(self._curvature(s) @ x + 1.5 * self.zeta * x**2 - self.epsilon, slow)

    def _hvp(self, p: Array, v: Array) -> ArrayLike:
        (x, s), (dx, ds) = self._split(p), self._split(v)
        turned = self._basis @ x
        fast = self._curvature(s) @ dx + ds @ turned + 3 * self.zeta * x * dx
        return np.append(fast, turned @ dx)

    def _third(self, p: Array, u: Array) -> ArrayLike:
        dx, ds = self._split(u)
        turned = self._basis @ dx
        return np.append(2 * ds @ turned + 3 * self.zeta * dx**2, turned @ dx)
