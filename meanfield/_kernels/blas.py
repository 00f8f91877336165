"""BLAS held to one thread inside parallel kernels.

The kernels parallelise over blocks of particles themselves; a BLAS that threads inside them would oversubscribe the cores, and
its results would depend on the thread count in the last digits.
"""

import functools
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController


@functools.cache
def _controller() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401  (the library numba calls; it must be loaded to be found)

    return ThreadpoolController().select(user_api="blas")


def single_threaded_blas() -> AbstractContextManager[Any]:
    """Context in which every BLAS library of the process uses one thread."""
    return _controller().limit(limits=1)
