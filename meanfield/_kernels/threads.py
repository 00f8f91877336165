"""How many threads a kernel runs on.

A kernel's work is cut into blocks whose results do not depend on the thread that computes them, so no result depends on the
number of threads. Numba's setting (``NUMBA_NUM_THREADS``, ``numba.set_num_threads``) is the limit, but the threads are our own:
compiled code releases the interpreter's lock, compiling for numba's own takes several times as long, and the simplest layer of
those aborts when two Python threads come at once. BLAS is held to one thread meanwhile: more would oversubscribe the cores,
and would change the last digits with their number.
"""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import numba
from threadpoolctl import ThreadpoolController

# Multiply-adds that are worth waking a thread for, some 0.2 ms of work. On a busy machine waking it can cost milliseconds.
_WORK_PER_THREAD = 1_000_000
_SHARES_PER_THREAD = 4  # so that a thread that was held up does not hold up the others


def run_blocks(compute: Callable[[int, int], None], n_blocks: int, work: int, blas: bool) -> None:
    """compute(first, last) for ranges of blocks that make up all, on as many threads as so many multiply-adds are worth.

    The caller is one of them: small work is done before the others have woken, which on a virtual machine may take half a
    millisecond.
    """
    threads = max(1, min(numba.get_num_threads(), n_blocks, work // _WORK_PER_THREAD))
    with _one_blas_thread() if blas else nullcontext():
        if threads == 1:
            compute(0, n_blocks)
            return
        shares = min(n_blocks, _SHARES_PER_THREAD * threads)
        waiting = deque(pairwise(i * n_blocks // shares for i in range(shares + 1)))

        def take_shares() -> None:
            while True:
                try:
                    share = waiting.popleft()
                except IndexError:  # none left
                    return
                compute(*share)

        others = [_pool(os.getpid(), threads - 1).submit(take_shares) for _ in range(threads - 1)]
        try:
            take_shares()
        finally:
            for other in others:
                if not other.cancel():  # it was awake in time
                    other.result()


@functools.lru_cache(maxsize=8)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Idle threads, of this process: those of its parent did not survive the fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="meanfield")


def use_cores(count: int) -> None:
    """Run kernels on at most so many threads from now on, unless NUMBA_NUM_THREADS was set: then on as many as it says."""
    if "NUMBA_NUM_THREADS" not in os.environ:
        numba.set_num_threads(max(1, min(count, numba.get_num_threads())))


def use_threads(count: int) -> None:
    """Run kernels on at most so many threads from now on, whatever was said before.

    Raises
    ------
    ValueError
        For none, and for more than there are: NUMBA_NUM_THREADS, by default the cores that this process may use.
    """
    there_are = int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009  (its attributes are made at run time)
    if not 1 <= count <= there_are:
        raise ValueError(f"threads: {count} came, 1 to {there_are} are allowed")
    numba.set_num_threads(count)


def most_threads() -> int:
    """How many a kernel may run on, if its work is worth them."""
    return int(numba.get_num_threads())


@functools.cache
def _blas_libraries() -> list[Any]:
    import scipy.linalg.cython_blas  # noqa: F401  (the library numba calls; it must be loaded to be found)

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Like threadpoolctl's own limit, which takes longer than a small kernel."""
    limited = [(library, library.num_threads) for library in _blas_libraries()]
    limited = [(library, threads) for library, threads in limited if threads != 1]
    for library, _ in limited:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in limited:
            library.set_num_threads(threads)
