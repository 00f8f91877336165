"""Normal random numbers determined by a seed and a counter."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from solvers.objective import Array, is_spread


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
