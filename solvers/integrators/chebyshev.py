"""The Chebyshev schemes of orders two and four, by turns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from solvers.integrators.base import RightHandSide
from solvers.integrators.rkc import RKC
from solvers.integrators.rock4 import ROCK4
from solvers.integrators.stabilized import Stabilized, Stages, Step
from solvers.objective import Array

# ROCK4's tolerance over RKC's: their errors are then about the same.
_SHARE = 0.5
# RKC is left where step size times spectral radius falls below the one: two stages are then more than stability needs. ROCK4 is
# left above the other, three quarters of what its fewest stages reach. Their steps at the same tolerance differ by at least the
# factor.
_LEAST, _MOST, _LONGER = 1.1, 3.8, 2.5


@dataclass(frozen=True)
class Chebyshev(Stabilized):
    """RKC and ROCK4 by turns, with step-size control: order four where accuracy limits the steps, order two where stability does.

    While the solution changes fast, as at the start of a run and in spikes, a step of order four covers several of order two.
    Where it moves slowly, what limits a step of `ROCK4` is the rest of its stiff components, which it hardly damps; those of
    `RKC` decay. So the next step is one of ROCK4 where RKC would take its fewest stages, two, for less than they could cover, and
    one of RKC where ROCK4's fewest, five, would no longer do.

    Parameters
    ----------
    rtol : float
        A step is accepted when the estimated error of each part of the state, center and fluctuations, is below rtol^{3/2} times
        its norm for RKC, rtol/2 for ROCK4. Errors of a run are in proportion to it.
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

    Examples
    --------
    >>> scheme = solvers.Chebyshev(rtol=1e-5)
    >>> stiff = lambda t, y: -1000.0 * (y - np.cos(t))
    >>> scheme.advance(stiff, 0.0, np.array([1.0]), dt=1.0).round(3)  # cos 1 + (sin 1)/1000
    array([0.541])
    """

    order: ClassVar[int] = 2
    first_order: ClassVar[int] = 4
    error_power: ClassVar[int] = RKC.error_power
    reach: ClassVar[float] = RKC.reach

    @cached_property
    def _schemes(self) -> dict[int, Stabilized]:
        return {2: RKC(self.rtol), 4: ROCK4(max(_SHARE * self.rtol, 1e-12))}

    def of_order(self, order: int) -> Stabilized:
        return self._schemes[order]

    def stages(self, f: RightHandSide, y: Array, f0: Array, size: float, reach: float) -> Stages:
        return self.of_order(self.order).stages(f, y, f0, size, reach)

    def chosen(self, step: Step) -> Step:
        needed = step.following * step.radius
        if step.order == 2 and needed < _LEAST:
            return replace(step, order=4, following=_LONGER * step.following, error=0.0)
        if step.order == 4 and needed > _MOST:
            return replace(step, order=2, following=step.following / _LONGER, error=0.0)
        return step
