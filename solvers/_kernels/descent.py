"""Gradient descent on functions of a few coordinates, many steps in one call.

Compiled without any fast-math flag: the arithmetic is that of NumPy, operation by operation, so the iterates are the same bits.
"""

import functools

import numba
import numpy as np


@functools.cache
def descent_loop(gradient):
    """The loop of a compiled ``gradient(x, out)``: (x_k, x_{k+1}), both overwritten, η, steps ↦ steps done.

    The loop stops before a step whose result is not finite.
    """

    @numba.njit(error_model="numpy")
    def loop(iterate, following, learning_rate, steps):
        slope = np.empty(iterate.size)
        after = np.empty(iterate.size)
        for step in range(steps):
            gradient(following, slope)
            finite = True
            for i in range(after.size):
                after[i] = following[i] - learning_rate * slope[i]
                finite = finite and np.isfinite(after[i])
            if not finite:
                return step
            for i in range(after.size):
                iterate[i], following[i] = following[i], after[i]
        return steps

    return loop
