"""How many threads a kernel runs on.

The kernels parallelise over fixed blocks of particles themselves, so their results do not depend on the number of threads. BLAS
is held to one inside them: more would oversubscribe the cores, and would change the last digits with their number.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numba
from threadpoolctl import ThreadpoolController

# Multiply-adds that are worth waking a thread for, some 0.2 ms of work. On a busy machine waking it can cost milliseconds.
_WORK_PER_THREAD = 1_000_000


def use_cores(count: int) -> None:
    """Run kernels on at most so many threads from now on, unless NUMBA_NUM_THREADS was set: then on as many as it says."""
    if "NUMBA_NUM_THREADS" not in os.environ:
        numba.set_num_threads(max(1, min(count, numba.get_num_threads())))


def most_threads() -> int:
    """How many a kernel may run on, if its work is worth them."""
    return int(numba.get_num_threads())


@functools.cache
def _blas() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401  (the library numba calls; it must be loaded to be found)

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def kernel_threads(work: int) -> Iterator[None]:
    """Context for a kernel of so many multiply-adds: as many threads as they are worth, BLAS on one."""
    limit = numba.get_num_threads()
    with _blas().limit(limits=1):
        numba.set_num_threads(max(1, min(limit, work // _WORK_PER_THREAD)))
        try:
            yield
        finally:
            numba.set_num_threads(limit)
