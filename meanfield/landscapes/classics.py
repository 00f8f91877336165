"""Classical landscapes of one or two coordinates."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from meanfield.landscapes.base import Array, Formula, Reference
from solvers._support.arguments import real, settle


def _quartic_gradient(w: Array, out: Array, curvature: float, quartic: float) -> None:
    out[0] = (curvature - quartic * (w[0] * w[0])) * w[0]


def _trough_gradient(p: Array, out: Array) -> None:
    x, y = p[0], p[1]
    out[0] = 2 * x * (y * y)
    out[1] = 2 * (1 + x * x) * y


def _rosenbrock_gradient(p: Array, out: Array, a: float, b: float) -> None:
    x, y = p[0], p[1]
    lift = 2 * b * (y - x * x)
    out[0] = 2 * (x - a) - 2 * x * lift
    out[1] = lift


@dataclass(frozen=True)
class Quartic(Reference):
    """E(w) = ½ S w² − ¼ Q w⁴: a minimum at 0 of sharpness S that flattens outwards.

    Past the edge, η > 2/S, gradient descent settles on the two-cycle ±w of w² = S/Q − 2/(ηQ), where S − Q w² = 2/η; it is
    stable while ηS < 3. E is unbounded below.

    Reference: S = 10, Q = 1, η = 0.21 from 0.1: w² = 0.4761904762.

    Parameters
    ----------
    curvature, quartic : float
        S and Q, above 0.

    Raises
    ------
    ValueError
        For a parameter that is not finite and positive.

    Examples
    --------
    Past the edge gradient descent settles on ±w with w² = S/Q − 2/(ηQ).

    >>> quartic = meanfield.landscapes.Quartic(curvature=10.0, quartic=1.0)
    >>> end = solvers.solve(solvers.GradientDescent(0.21), quartic, [0.1], steps=2000, save_every=2000).iterates[-1]
    >>> round(float(end[0] ** 2), 9), round(10 - 2 / 0.21, 9)
    (0.476190476, 0.476190476)
    """

    curvature: float = 10.0
    quartic: float = 1.0

    def __post_init__(self) -> None:
        settle(self, curvature=real("curvature", self.curvature, above=0))
        settle(self, quartic=real("quartic", self.quartic, above=0))

    @property
    def start(self) -> tuple[float, ...]:
        return (0.1,)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("w",)

    def _value(self, w: Array) -> float:
        return float(0.5 * self.curvature * w[0] ** 2 - 0.25 * self.quartic * w[0] ** 4)

    @property
    def _formula(self) -> Formula:
        return _quartic_gradient, (float(self.curvature), float(self.quartic))

    def _hvp(self, w: Array, v: Array) -> ArrayLike:
        return (self.curvature - 3 * self.quartic * w**2) * v

    def _third(self, w: Array, u: Array) -> ArrayLike:
        return -6 * self.quartic * w * u**2


@dataclass(frozen=True)
class VaryingTrough(Reference):
    """E(x, y) = (1 + x²) y²: the line y = 0 of minimisers, of sharpness 2 (1 + x²).

    Normalised gradient descent and gradient descent on √E do not converge to the line; in the time η²k after k steps they follow
    flows along it towards flatter points (Arora, Li, Panigrahi 2022), here ẋ = −½ x/(1 + x²) and ẋ = −½ x.

    Reference: from (1.5, 0.005) with η = 0.005 to η²k = 2: x = 1.01523 (normalised) and 0.55182 (on √E).

    Examples
    --------
    >>> meanfield.landscapes.VaryingTrough().value([2.0, 3.0])  # (1 + 4)·9
    45.0
    """

    @property
    def start(self) -> tuple[float, ...]:
        return 1.5, 0.005

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return "x", "y"

    def _value(self, p: Array) -> float:
        x, y = p
        return (1 + x**2) * y**2

    @property
    def _formula(self) -> Formula:
        return _trough_gradient, ()

    def _hvp(self, p: Array, v: Array) -> ArrayLike:
        x, y = p
        return [2 * y**2 * v[0] + 4 * x * y * v[1], 4 * x * y * v[0] + 2 * (1 + x**2) * v[1]]

    def _third(self, p: Array, u: Array) -> ArrayLike:
        (x, y), (a, b) = p, u
        return [8 * y * a * b + 4 * x * b**2, 4 * y * a**2 + 8 * x * a * b]


@dataclass(frozen=True)
class Rosenbrock(Reference):
    """E(x, y) = (a − x)² + b (y − x²)²: a bent, narrow valley with its minimum 0 at (a, a²) (Rosenbrock 1960).

    Reference: a = 1, b = 100 from (−1.2, 1); the sharpness at the minimum is 1001.6.

    Parameters
    ----------
    a, b : float
        b above 0.

    Raises
    ------
    ValueError
        For a that is not finite, b that is not finite and positive.

    Examples
    --------
    >>> rosenbrock = meanfield.landscapes.Rosenbrock(a=1.0, b=100.0)
    >>> rosenbrock.value([0.0, 1.0]), rosenbrock.gradient([1.0, 1.0])  # 1 + 100; the minimum
    (101.0, array([0., 0.]))
    """

    a: float = 1.0
    b: float = 100.0

    def __post_init__(self) -> None:
        settle(self, a=real("a", self.a))
        settle(self, b=real("b", self.b, above=0))

    @property
    def start(self) -> tuple[float, ...]:
        return -1.2, 1.0

    @property
    def minimum(self) -> float:
        return 0.0

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return "x", "y"

    def _value(self, p: Array) -> float:
        x, y = p
        return (self.a - x) ** 2 + self.b * (y - x**2) ** 2

    @property
    def _formula(self) -> Formula:
        return _rosenbrock_gradient, (float(self.a), float(self.b))

    def _hvp(self, p: Array, v: Array) -> ArrayLike:
        x, y = p
        cross = -4 * self.b * x
        top = 2 - 4 * self.b * (y - 3 * x**2)
        return [top * v[0] + cross * v[1], cross * v[0] + 2 * self.b * v[1]]

    def _third(self, p: Array, u: Array) -> ArrayLike:
        return [8 * self.b * u[0] * (3 * p[0] * u[0] - u[1]), -4 * self.b * u[0] ** 2]
