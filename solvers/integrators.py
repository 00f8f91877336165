"""Time integrators for ẏ = f(t, y), y a vector. Each declares its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np

from solvers._support.annotations import Ge, Interval
from solvers._support.arguments import choice, refusal
from solvers._support.options import check_options
from solvers._support.threads import one_blas_thread
from solvers.objective import Array

# The smallest rtol that SciPy accepts: a hundred units of roundoff.
_LEAST_RTOL = 100 * float(np.finfo(np.float64).eps)

RightHandSide = Callable[[float, Array], Array]


class SchemeError(ArithmeticError):
    """A time integration that cannot continue although all numbers are finite."""


class Integrator(Protocol):
    """A one-step scheme. `default_dt` is the default step of ``solve``; None: the scheme chooses its own.

    `entrywise`: whether it treats every entry of y independently, as needed where each rank moves a part of the particles.

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


@dataclass(frozen=True)
class Adaptive:
    """SciPy's Dormand–Prince pair of order 5(4) with step-size control.

    Parameters
    ----------
    rtol, atol : float
        A step is accepted when its estimated error is below atol + rtol |y|, in the root mean square over the coordinates.
        |u| may be many orders below |w|: atol must lie below the fluctuations that are to be resolved.

    max_steps : int
        Largest number of inner steps per call. The scheme is explicit: on a flow of stiffness s per iteration
        it takes at least s/3.3 of them.

    Raises
    ------
    ValueError
        For tolerances outside 2.3e-14 ≤ rtol < 1, atol ≥ 0, max_steps ≥ 1.
    FloatingPointError
        In use: when f is not finite, or the step size needed falls below the spacing of numbers.
    SchemeError
        In use: after max_steps inner steps.

    Examples
    --------
    >>> y = solvers.Adaptive(rtol=1e-9).advance(lambda t, y: -y, 0.0, np.array([1.0]), dt=0.5)
    >>> y.round(6), round(float(np.exp(-0.5)), 6)
    (array([0.606531]), 0.606531)
    """

    rtol: Annotated[float, Interval(ge=_LEAST_RTOL, lt=1)] = 1e-6
    atol: Annotated[float, Ge(0)] = 1e-12
    max_steps: Annotated[int, Ge(1)] = 2000

    order: ClassVar[int] = 5
    default_dt: ClassVar[float | None] = None
    entrywise: ClassVar[bool] = False  # the error of a step is a mean over all entries

    step_arrays: ClassVar[int] = 16

    def __post_init__(self) -> None:
        check_options(self)

    def advance(self, f: RightHandSide, t: float, y: Array, dt: float) -> Array:
        """y(t + dt), by as many inner steps as the tolerance takes.

        Every call starts afresh, with a first step chosen by SciPy: the result depends on (t, y, dt) alone, so a run can be
        interrupted and resumed anywhere without a change.
        """
        from scipy.integrate import RK45

        # SciPy combines the stages through BLAS. More threads would not be faster, would compete with those of the
        # objective's own kernels (three times slower, measured), and would make the last digits depend on their number.
        with one_blas_thread():
            solver: Any = RK45(_finite(f), t, y, t + dt, rtol=self.rtol, atol=self.atol)
            for _ in range(self.max_steps):
                message = solver.step()
                if solver.status != "running":
                    break
            else:
                raise SchemeError(
                    f"max_steps = {self.max_steps} inner steps did not cover one iteration: the flow is too stiff"
                )
        status, result = solver.status, solver.y.astype(y.dtype, copy=False)
        vars(
            solver
        ).clear()  # it refers to itself: its stages, a dozen arrays, would stay until they are collected
        if status == "failed":
            raise FloatingPointError(message)
        return result


#: Integrators by their names in configurations and ``solve``.
INTEGRATORS: dict[str, Callable[..., Integrator]] = {
    "euler": Euler,
    "midpoint": Midpoint,
    "rk4": RK4,
    "adaptive": Adaptive,
}


def as_integrator(value: object) -> Integrator:
    """An integrator, given as an object or by name.

    Raises
    ------
    ValueError
        For an unknown name or an object that is not an integrator.
    """
    if isinstance(value, str):
        return INTEGRATORS[choice("integrator", value, INTEGRATORS)]()
    if isinstance(value, type):
        raise refusal("integrator", "an object", value, f"call the class: {value.__name__}()")
    scheme: Any = value
    missing = [name for name in ("default_dt", "entrywise") if not hasattr(value, name)]
    if missing or not callable(getattr(value, "advance", None)):
        names = ", ".join(INTEGRATORS)
        raise refusal("integrator", f"an Integrator, for instance RK4(), or one of {names}", value)
    result: Integrator = scheme
    return result


def _finite(f: RightHandSide) -> RightHandSide:
    """f, raising where it is not finite: a step-size control would search forever."""

    def checked(t: float, y: Array) -> Array:
        velocity = f(t, y)
        if not np.all(np.isfinite(velocity)):
            raise FloatingPointError("the velocity is not finite")
        return velocity

    return checked
