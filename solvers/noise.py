"""Normal numbers that depend on a seed and a counter alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from solvers.objective import Array, is_spread


def standard_normal(seed: int, counter: int, like: Array) -> Array:
    """ξ of the counter-th draw, of the shape and precision of `like`.

    By Philox, a generator by counter (Salmon et al., SC 2011): a run that was cut goes on as if it had not been, whatever the
    number of threads; and the first n rows for a wider system are the rows of the narrower. (NumPy may change its normal draws
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
        # The upper 64 of the 256 bits of the counter: no draw ever runs into the next one's numbers.
        words["counter"][:] = 0, 0, 0, counter
        self._bits.state = self._unused
        return self._standard_normal(shape)


_GENERATOR = _Generator()


def spread_normal(objective: Any, seed: int, counter: int, like: Array) -> Array:
    """The same, or this process's part of it where the objective is spread."""
    if not is_spread(objective):
        return standard_normal(seed, counter, like)
    own: Array = objective.own(standard_normal(seed, counter, objective.gather(like)))
    return own
