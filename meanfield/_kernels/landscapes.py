"""Gradients of functions of a few coordinates, compiled, as ``gradient(x, out)``.

Without any fast-math flag: the numbers are those of the same formula in plain Python, bit for bit.
"""

import functools

import numba
import numpy as np


@functools.cache
def from_formula(formula, parameters):
    """The gradient that ``formula(x, out, *parameters)`` writes."""
    compiled = numba.njit(formula, error_model="numpy")

    @numba.njit(error_model="numpy")
    def gradient(x, out):
        compiled(x, out, *parameters)

    return gradient


@functools.cache
def by_complex_step(function, tiny, resolved):
    """The gradient of a compiled analytic function E(x), Im E(x + ih e_j)/h with h = tiny (1 + |x_j|).

    A slope below `resolved` that is not known to be zero is NaN: there the step must be taken in a wider range.
    """

    @numba.njit(error_model="numpy")
    def gradient(x, out):
        point = x.astype(np.complex128)
        for j in range(x.size):
            h = tiny * (1.0 + abs(x[j]))
            point[j] = x[j] + 1j * h
            out[j] = function(point).imag / h
            if abs(out[j]) < resolved:
                point[j] = x[j] + 1j
                if out[j] != 0.0 or function(point).imag != 0.0:
                    out[j] = np.nan
            point[j] = x[j]

    return gradient
