"""SciPy's Dormand–Prince pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from solvers._support.annotations import Ge, Interval
from solvers._support.options import check_options
from solvers._support.threads import one_blas_thread
from solvers.integrators.base import RightHandSide, SchemeError
from solvers.objective import Array

# The smallest rtol that SciPy accepts: a hundred units of roundoff.
_LEAST_RTOL = 100 * float(np.finfo(np.float64).eps)


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


def _finite(f: RightHandSide) -> RightHandSide:
    """f, raising where it is not finite: a step-size control would search forever."""

    def checked(t: float, y: Array) -> Array:
        velocity = f(t, y)
        if not np.all(np.isfinite(velocity)):
            raise FloatingPointError("the velocity is not finite")
        return velocity

    return checked
