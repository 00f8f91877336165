"""The Runge–Kutta–Chebyshev scheme of order two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

from solvers.integrators.base import RightHandSide
from solvers.integrators.stabilized import Stabilized, Stages
from solvers.objective import Array

# ε: stiff components decay by at least a quarter per step. With the published 2/13 it is a twentieth, and what remains of them
# keeps the steps short while the flow moves slowly; the interval is a tenth longer.
_DAMPING = 1.0
_MOST_STAGES = 200
# s stages are stable on an interval of length (s² − 1)/_STIFFNESS.
_STIFFNESS = 1.5 / (1.0 - 2.0 * _DAMPING / 15.0)


@dataclass(frozen=True)
class RKC(Stabilized):
    """The Runge–Kutta–Chebyshev scheme of order two, with step-size control.

    Its s stages are stable for step sizes h up to 0.58 s²/ρ, ρ the spectral radius of the velocity's Jacobian, where those of a
    classical scheme are up to a multiple of s/ρ. The number of stages, at least two, follows from the step size and ρ, which a
    power iteration estimates.

    Parameters
    ----------
    rtol : float
        A step is accepted when the estimated error of each part of the state, center and fluctuations, is below rtol^{3/2} times
        its norm; errors of order three then add up to one of order two, in proportion to rtol.
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
    Sommeijer, Shampine, Verwer, "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl. Math. 88 (1997); there the
    damping is ε = 2/13.

    Examples
    --------
    >>> scheme = solvers.RKC(rtol=1e-5)
    >>> stiff = lambda t, y: -1000.0 * (y - np.cos(t))
    >>> scheme.advance(stiff, 0.0, np.array([1.0]), dt=1.0).round(3)  # cos 1 + (sin 1)/1000
    array([0.541])
    """

    order: ClassVar[int] = 2
    first_order: ClassVar[int] = 2
    error_power: ClassVar[int] = 3
    reach: ClassVar[float] = ((_MOST_STAGES - 1) ** 2 - 1) / _STIFFNESS

    def stages(self, f: RightHandSide, y: Array, f0: Array, size: float, reach: float) -> Stages:
        first, others = rkc_stages(reach)
        before, last = y, y + (size * first) * f0
        time_before, time = 0.0, first
        for c in others:
            following = (
                (1.0 - c.mu - c.nu) * y
                + c.mu * last
                + c.nu * before
                + (size * c.mu_f) * f(size * time, last)
                + (size * c.gamma_f) * f0
            )
            before, last = last, following
            time_before, time = time, c.mu * time + c.nu * time_before + c.mu_f + c.gamma_f
        f1 = f(size, last)
        return Stages(last, f1, 0.8 * (y - last) + (0.4 * size) * (f0 + f1))


class _Stage(NamedTuple):
    """Y_j = (1 − μ − ν) Y_0 + μ Y_{j−1} + ν Y_{j−2} + μ̃ h f(Y_{j−1}) + γ̃ h f(Y_0)."""

    mu: float
    nu: float
    mu_f: float
    gamma_f: float


def rkc_stages(reach: float) -> tuple[float, tuple[_Stage, ...]]:
    """μ̃_1, and the coefficients of the others of as many stages as are stable for this product of step size and radius."""
    stages = 1 + int(math.sqrt(1.0 + _STIFFNESS * reach))
    return _coefficients(max(2, min(stages, _MOST_STAGES)))


@lru_cache(maxsize=256)
def _coefficients(s: int) -> tuple[float, tuple[_Stage, ...]]:
    """μ̃_1, and the coefficients of the stages 2 … s."""
    w0 = 1.0 + _DAMPING / s**2
    t, d, dd = [1.0, w0], [0.0, 1.0], [0.0, 0.0]  # T_j, T_j', T_j'' at w0
    for j in range(2, s + 1):
        t.append(2.0 * w0 * t[j - 1] - t[j - 2])
        d.append(2.0 * t[j - 1] + 2.0 * w0 * d[j - 1] - d[j - 2])
        dd.append(4.0 * d[j - 1] + 2.0 * w0 * dd[j - 1] - dd[j - 2])
    w1 = d[s] / dd[s]
    b = [0.0, 0.0] + [dd[j] / d[j] ** 2 for j in range(2, s + 1)]
    b[0] = b[1] = b[2]
    stages = []
    for j in range(2, s + 1):
        mu_f = 2.0 * b[j] * w1 / b[j - 1]
        gamma_f = -(1.0 - b[j - 1] * t[j - 1]) * mu_f
        stages.append(_Stage(2.0 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], mu_f, gamma_f))
    return b[1] * w1, tuple(stages)
