"""Normal numbers that depend on a seed and a counter alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.objective import Array, is_spread


def standard_normal(seed: int, counter: int, like: Array) -> Array:
    """ξ of the counter-th draw, of the shape and precision of `like`.

    By Philox, a generator by counter (Salmon et al., SC 2011): a run that was cut goes on as if it had not been, whatever the
    number of threads; and the first n rows for a wider system are the rows of the narrower. (NumPy may change its normal draws
    with a version.)
    """
    # The upper 64 of the 256 bits of the counter: no draw ever runs into the next one's numbers.
    generator = np.random.Generator(np.random.Philox(key=int(seed), counter=int(counter) << 192))
    return generator.standard_normal(like.shape).astype(like.dtype, copy=False)


def spread_normal(objective: Any, seed: int, counter: int, like: Array) -> Array:
    """The same, or this process's part of it where the objective is spread."""
    if not is_spread(objective):
        return standard_normal(seed, counter, like)
    own: Array = objective.own(standard_normal(seed, counter, objective.gather(like)))
    return own
