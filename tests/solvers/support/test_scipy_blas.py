"""SciPy's BLAS by itself, before and after the rest of `scipy.linalg`."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
from numba.extending import get_cython_function_address

from solvers._support import scipy_blas

BEFORE_SCIPY = """
import sys
from solvers._support import scipy_blas
from solvers._support.threads import blas_libraries
module, ours = scipy_blas.load(), scipy_blas.address("ddot")
libraries = len(blas_libraries())
assert "scipy.linalg" not in sys.modules
import scipy.linalg.cython_blas
assert scipy.linalg.cython_blas.__pyx_capi__.keys() == module.__pyx_capi__.keys()
from numba.extending import get_cython_function_address
assert get_cython_function_address("scipy.linalg.cython_blas", "ddot") == ours
blas_libraries.cache_clear()
assert len(blas_libraries()) == libraries
assert scipy.linalg.blas.ddot([1.0, 2.0], [3.0, 4.0]) == 11
"""


@pytest.mark.slow
@pytest.mark.essential
def test_the_rest_can_be_imported_later():
    subprocess.run([sys.executable, "-c", BEFORE_SCIPY], check=True)


def test_an_address_is_that_of_the_function():
    pointer, size = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int)
    dot = ctypes.CFUNCTYPE(ctypes.c_double, size, pointer, size, pointer, size)
    address = scipy_blas.address("ddot")
    assert address == get_cython_function_address("scipy.linalg.cython_blas", "ddot")
    x, y = np.array([1.0, 2.0, 3.0]), np.array([4.0, -1.0, 0.5])
    n, one = ctypes.byref(ctypes.c_int(3)), ctypes.byref(ctypes.c_int(1))
    at_x, at_y = (array.ctypes.data_as(pointer) for array in (x, y))
    assert dot(address)(n, at_x, one, at_y, one) == 1 * 4 + 2 * -1 + 3 * 0.5
