"""The orthogonal Runge–Kutta–Chebyshev scheme of order four."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from solvers.integrators.base import RightHandSide
from solvers.integrators.stabilized import Stabilized, Stages
from solvers.objective import Array

# Stages of the recurrence for which there are coefficients; four more complete a step.
_DEGREES = [*range(1, 21), *range(22, 40, 2), *range(41, 60, 3), 63, 67, 71, 76, 81, 86, 92, 98]
_DEGREES += [105, 112, 120, 129, 138, 148]
_FINISHING = 4
# Over s² the length of real axis on which s stages are stable.
_LENGTH = 0.35
_TABLE = Path(__file__).with_name("rock4.npy")


@dataclass(frozen=True)
class ROCK4(Stabilized):
    """The orthogonal Runge–Kutta–Chebyshev scheme of order four, with step-size control.

    s stages are stable for step sizes h up to 0.35 s²/ρ, ρ the spectral radius of the velocity's Jacobian. s − 4 of them are a
    three-term recurrence, whose polynomials are orthogonal to a weight that makes the whole of order four; the last four
    complete it. The number of stages, at least five, follows from the step size and ρ, which a power iteration estimates.

    Parameters
    ----------
    rtol : float
        A step is accepted when the estimated error of each part of the state, center and fluctuations, is below rtol times its
        norm.
    max_steps : int
        Largest number of steps per iteration.

    Raises
    ------
    ValueError
        For a parameter out of range.
    FloatingPointError
        In use: when f is not finite, or the step size needed falls below the spacing of numbers.
    SchemeError
        In use: after max_steps steps within one iteration.

    References
    ----------
    Abdulle, "Fourth order Chebyshev methods with recurrence relation", SIAM J. Sci. Comput. 23 (2002); the coefficients are the
    published ones.

    Examples
    --------
    >>> scheme = solvers.ROCK4(rtol=1e-5)
    >>> stiff = lambda t, y: -1000.0 * (y - np.cos(t))
    >>> scheme.advance(stiff, 0.0, np.array([1.0]), dt=1.0).round(3)  # cos 1 + (sin 1)/1000
    array([0.541])
    """

    order: ClassVar[int] = 4
    first_order: ClassVar[int] = 4
    error_power: ClassVar[int] = 4
    reach: ClassVar[float] = _LENGTH * (_DEGREES[-1] + _FINISHING) ** 2 - 3.0

    def stages(self, f: RightHandSide, y: Array, f0: Array, size: float, reach: float) -> Stages:
        needed = math.ceil(math.sqrt((3.0 + reach) / _LENGTH)) - _FINISHING
        c = _coefficients(min(bisect.bisect_left(_DEGREES, needed), len(_DEGREES) - 1))
        time, y = _recurrence(c, f, y, f0, size)
        a, b, e = c.a, c.b, c.error
        k1 = f(size * time, y)
        k2 = f(size * (time + a[0]), y + (size * a[0]) * k1)
        k3 = f(size * (time + a[1] + a[2]), y + size * (a[1] * k1 + a[2] * k2))
        inner = y + size * (a[3] * k1 + a[4] * k2 + a[5] * k3)
        k4 = f(size * (time + a[3] + a[4] + a[5]), inner)
        y1 = y + size * (b[0] * k1 + b[1] * k2 + b[2] * k3 + b[3] * k4)
        f1 = f(size, y1)
        error = size * (e[0] * k1 + e[1] * k2 + e[2] * k3 + e[3] * k4 + e[4] * f1)
        return Stages(y1, f1, error)


class _Coefficients(NamedTuple):
    """μ_1; (μ_j, κ_j) of the recurrence; the tableau of the last stages, their weights, and the weights of the error."""

    first: float
    recurrence: list[tuple[float, float]]
    a: list[float]
    b: list[float]
    error: list[float]


def _recurrence(
    c: _Coefficients, f: RightHandSide, y: Array, f0: Array, size: float
) -> tuple[float, Array]:
    """g_j = hμ_j f(g_{j−1}) + (1 + κ_j) g_{j−1} − κ_j g_{j−2}, and the time of the last one over the step size."""
    before, last = y, y + (size * c.first) * f0
    time_before, time = 0.0, c.first
    for mu, kappa in c.recurrence:
        moved = (size * mu) * f(size * time, last) + (1.0 + kappa) * last - kappa * before
        before, last = last, moved
        time_before, time = time, mu + (1.0 + kappa) * time - kappa * time_before
    return time, last


@lru_cache(maxsize=len(_DEGREES))
def _coefficients(index: int) -> _Coefficients:
    count = len(_DEGREES)
    flat = np.load(_TABLE)
    a, b, embedded, recurrences = np.split(flat, np.cumsum([6 * count, 4 * count, 5 * count]))
    begin = sum(2 * degree - 1 for degree in _DEGREES[:index])
    own = recurrences[begin : begin + 2 * _DEGREES[index] - 1].tolist()
    weights = b.reshape(count, 4)[index].tolist()
    error = embedded.reshape(count, 5)[index]
    error[:4] -= weights
    return _Coefficients(
        own[0],
        list(zip(own[1::2], own[2::2], strict=True)),
        a.reshape(count, 6)[index].tolist(),
        weights,
        error.tolist(),
    )
