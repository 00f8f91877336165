"""What a time integrator for ẏ = f(t, y) is, y a vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from solvers.objective import Array

RightHandSide = Callable[[float, Array], Array]


class SchemeError(ArithmeticError):
    """A time integration that cannot continue although all numbers are finite."""


class Integrator(Protocol):
    """A one-step scheme. `default_dt` is the default step of ``solve``; None: the scheme chooses its own.

    `entrywise`: whether it can move a part of the particles, as each rank of several does: because it treats every entry of y
    independently, or measures errors in the objective's inner product only.

    Examples
    --------
    Any object with these is one, here the implicit Euler scheme of ẏ = −y:

    >>> class Implicit:
    ...     default_dt, entrywise = 0.5, True
    ...     def advance(self, f, t, y, dt):
    ...         return y / (1 + dt)
    >>> parabola = meanfield.landscapes.Landscape(lambda x: 0.5 * x[0] ** 2)
    >>> flow = solvers.GradientFlow(1.0)
    >>> solvers.solve(flow, parabola, [1.0], steps=2, dt=1.0, integrator=Implicit()).centers.ravel()
    array([1.  , 0.5 , 0.25])
    """

    order: ClassVar[int]
    default_dt: ClassVar[float | None]
    entrywise: ClassVar[bool]

    def advance(self, f: RightHandSide, t: float, y: Array, dt: float) -> Array:
        """y(t + dt) from y(t)."""
