"""Normal random numbers determined by a seed and a counter, and the rounding errors that they imitate."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.objective import Array, epsilon, is_spread, peak

#: A fluctuation this many times the rounding of x is not changed by it.
_VISIBLE = 1e4
#: Distance in ulps at which rounding errors are independent. In float32 those of functions of vector libraries are alike at
#: neighbouring numbers: at one ulp this difference has 0.6 of the error of a GELU network's step (AVX-512), at four 0.8 to 1.
_APART = {"f": 4, "d": 1}


def standard_normal(seed: int, counter: int, like: Array) -> Array:
    """ξ of the counter-th draw, with the shape and precision of `like`.

    By Philox, a counter-based generator (Salmon et al., SC 2011): an interrupted run continues identically, for any
    number of threads; and the first n rows for a wider system are those of a narrower one. (NumPy may change its normal draws
    with a version.)
    """
    return _GENERATOR.normal(int(seed), int(counter), like.shape).astype(like.dtype, copy=False)


class _Generator(threading.local):
    """One for each thread: a new one for each draw would ask the system for entropy first, and take five times as long."""

    def __init__(self) -> None:
        self._bits = np.random.Philox(key=0)
        self._unused = self._bits.state
        self._standard_normal = np.random.Generator(self._bits).standard_normal

    def normal(self, key: int, counter: int, shape: tuple[int, ...]) -> Array:
        """The first numbers of `Philox(key=key, counter=counter << 192)`."""
        words = self._unused["state"]
        words["key"][:] = key % 2**64, key >> 64
        # The upper 64 of the 256 bits of the counter: the numbers of different draws never overlap.
        words["counter"][:] = 0, 0, 0, counter
        self._bits.state = self._unused
        return self._standard_normal(shape)


_GENERATOR = _Generator()


def spread_normal(objective: Any, seed: int, counter: int, like: Array) -> Array:
    """The same, or this rank's part of it if the objective is distributed."""
    if not is_spread(objective):
        return standard_normal(seed, counter, like)
    own: Array = objective.own(standard_normal(seed, counter, objective.gather(like)))
    return own


def is_rounded(objective: Any, x: Array, *fluctuations: Array) -> bool:
    """Whether the fluctuations are so small relative to x that the rounding of a step changes them."""
    extent = peak(objective, x)
    bound = min(_VISIBLE * epsilon(x), epsilon(x) ** 0.5) * extent
    return extent < math.inf and all(peak(objective, u) <= bound for u in fluctuations)


def step_rounding(x: Array, draw: Array, difference: Callable[[Array], Array]) -> Array:
    """The rounding errors of one iteration x + V(x), as it is computed: that of the sum, and an instance of that of V.

    Parameters
    ----------
    x : array
    draw : array, shaped like x
        Standard normal. The error of the sum is it times the standard deviation of a rounding, ulp(x_i)/√12.
    difference : function
        Of a change r of x: V(x + r) − V(x) as computed, minus DV(x) r.

    Notes
    -----
    With r_i = ±ulp(x_i), in float32 ±4 ulp(x_i), by the signs of the draw, x + r is exact (in float32 unless x_i is next to a
    power of 2), and what the difference leaves are the rounding errors of V at two points, which are independent for all
    practical purposes: their variance is twice that of one.
    """
    ulp = np.spacing(np.abs(x))
    apart = x.dtype.type(_APART[x.dtype.char]) * ulp
    left = difference(np.copysign(apart, draw)) * x.dtype.type(0.5**0.5)
    return x.dtype.type(12**-0.5) * ulp * draw + left
