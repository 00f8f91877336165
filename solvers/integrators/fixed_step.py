"""Schemes of a fixed step: Euler, midpoint, and the classical one of order four."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.integrators.base import RightHandSide
from solvers.objective import Array


@dataclass(frozen=True)
class Euler:
    """Explicit Euler, y + dt f(t, y). With its default step of 1, free-energy flow is gradient descent.

    Examples
    --------
    >>> solvers.Euler().advance(lambda t, y: -y, 0.0, np.array([1.0]), dt=0.5)  # 1 − ½
    array([0.5])
    """

    order: ClassVar[int] = 1
    default_dt: ClassVar[float | None] = 1.0
    entrywise: ClassVar[bool] = True

    def advance(self, f: RightHandSide, t: float, y: Array, dt: float) -> Array:
        return y + y.dtype.type(dt) * f(t, y)


@dataclass(frozen=True)
class Midpoint:
    """The explicit midpoint rule, y + dt f(t + dt/2, y + dt/2 f(t, y)).

    Examples
    --------
    >>> solvers.Midpoint().advance(lambda t, y: -y, 0.0, np.array([1.0]), dt=0.5)  # 1 − ½ + ½²/2
    array([0.625])
    """

    order: ClassVar[int] = 2
    default_dt: ClassVar[float | None] = 0.25
    entrywise: ClassVar[bool] = True

    def advance(self, f: RightHandSide, t: float, y: Array, dt: float) -> Array:
        h = y.dtype.type(dt)
        return y + h * f(t + 0.5 * dt, y + h / 2 * f(t, y))


@dataclass(frozen=True)
class RK4:
    """The classical Runge–Kutta scheme of order four.

    The fastest modes of the flows here have rates from −2 up to about ηS; on the real axis RK4 is stable down to −2.78/dt,
    so the default step of ½ leaves room for spikes of the sharpness to ηS = 5.

    Examples
    --------
    >>> y = solvers.RK4().advance(lambda t, y: -y, 0.0, np.array([1.0]), dt=0.5)
    >>> y.round(6), round(1 - 1 / 2 + 1 / 8 - 1 / 48 + 1 / 384, 6)
    (array([0.606771]), 0.606771)
    """

    order: ClassVar[int] = 4
    default_dt: ClassVar[float | None] = 0.5
    entrywise: ClassVar[bool] = True

    def advance(self, f: RightHandSide, t: float, y: Array, dt: float) -> Array:
        h = y.dtype.type(dt)
        k1 = f(t, y)
        k2 = f(t + 0.5 * dt, y + h / 2 * k1)
        k3 = f(t + 0.5 * dt, y + h / 2 * k2)
        k4 = f(t + dt, y + h * k3)
        return y + h / 6 * (k1 + 2 * (k2 + k3) + k4)
