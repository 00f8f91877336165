"""Threads of kernels.

The work of a kernel is divided into blocks whose results do not depend on the thread that computes them, so no result depends on
the number of threads. Numba's setting (``NUMBA_NUM_THREADS``, ``numba.set_num_threads``) is the limit, but the threads are our
own: compiled code releases the interpreter's lock, compiling for numba's own threads takes several times as long, and numba's
simplest threading layer aborts when two Python threads use it concurrently. BLAS is limited to one thread meanwhile: more would
oversubscribe the cores, and would change the last digits with their number.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from queue import SimpleQueue
from typing import Any

import numba
import numpy as np
from numba.np.ufunc import parallel
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from solvers._support.threads import one_blas_thread

from .atomic import wait_for_change
from .jit import COMPILED

Counter = NDArray[np.int64]

# Multiply-adds for which waking a thread pays off, about 0.2 ms of work. On a busy machine waking it can cost milliseconds.
_WORK_PER_THREAD = 1_000_000
_TRIES_AWAKE = 300_000  # of an idle thread, about 0.2 ms


def run_blocks(compute: Callable[[Counter], None], n_blocks: int, work: int, blas: bool) -> None:
    """compute(counter) on a number of threads appropriate for `work` multiply-adds; together they do all blocks.

    Each call takes the next block from the counter (`atomic.take`) until all are taken. The caller is one of the threads: small
    work is done before the others have woken, which on a virtual machine may take half a millisecond.
    """
    threads = max(1, min(most_threads(), n_blocks, work // _WORK_PER_THREAD))
    counter = np.zeros(1, np.int64)
    with one_blas_thread() if blas else nullcontext():
        if threads == 1 or not COMPILED:
            compute(counter)
            return
        helpers = _helpers(threads - 1)
        futures = [helper.ask(compute, counter) for helper in helpers]
        try:
            compute(counter)
        finally:
            for helper, future in zip(helpers, futures, strict=True):
                helper.wait_for(future)


def _helpers(count: int) -> list[_Helper]:
    helpers = _helpers_of(os.getpid())
    while len(helpers) < count:
        helpers.append(_Helper())
    return helpers[:count]


@functools.cache
def _helpers_of(process: int) -> list[_Helper]:
    """The helper threads of a process; those of its parent do not survive a fork."""
    return []


class _Helper:
    """A thread that executes requests, and spins for a short time after each, as the next kernel usually follows soon."""

    def __init__(self) -> None:
        self._asked, self._answered = np.zeros((2, 1), np.int64)
        self._requests: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="meanfield", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def ask(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Request a call of the function by the thread, unless the request is cancelled before the thread is free."""
        future: Future[None] = Future()
        self._put((future, function, arguments))
        return future

    def wait_for(self, future: Future[None]) -> None:
        """Cancel the request, or, if the thread has started it, wait until it is done."""
        if not future.cancel():
            wait_for_change(self._answered, self._asked[0] - 1, _TRIES_AWAKE)
            future.result()

    def _put(self, request: tuple[Any, ...] | None) -> None:
        self._requests.put(request)
        self._asked[0] += 1

    def _end(self) -> None:
        self._put(None)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            wait_for_change(self._asked, self._answered[0], _TRIES_AWAKE)
            request = self._requests.get()
            if request is None:
                return
            _answer(*request)
            self._answered[0] += 1
            del request  # do not keep its references alive while waiting


def _answer(
    future: Future[None], function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    if future.set_running_or_notify_cancel():
        try:
            function(*arguments)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)


def use_cores(count: int) -> None:
    """Limit kernels to `count` threads from now on, unless NUMBA_NUM_THREADS was set, which then is the limit."""
    if "NUMBA_NUM_THREADS" not in os.environ:
        _limit(max(1, min(count, most_threads())))


def use_threads(count: int) -> None:
    """Limit kernels to `count` threads from now on, overriding earlier settings.

    Raises
    ------
    ValueError
        For a number outside 1 to NUMBA_NUM_THREADS, by default the cores that this process may use.
    """
    there_are = _there_are()
    if not 1 <= count <= there_are:
        raise ValueError(f"threads must be an integer from 1 to {there_are}, got {count}")
    _limit(count)


def most_threads() -> int:
    """The largest number of threads of a kernel: numba's setting for this thread, all that there are until it is set.

    `numba.get_num_threads` would start numba's own threads, which nothing here uses: that changes the number of OpenMP's
    threads for the whole process, PyTorch's among them. It also takes a lock each time: a Ctrl-C between taking and recording it
    leaves it taken, and kernels on all other threads would wait forever.
    """
    started = _started()
    return int(started()) if started is not None else _there_are()


def _limit(count: int) -> None:
    """`numba.set_num_threads`, with OpenMP's number as it was."""
    if count == most_threads():
        return
    libraries = [] if _started() is not None else _openmp_libraries()
    before = [library.num_threads for library in libraries]
    numba.set_num_threads(count)
    for library, threads in zip(libraries, before, strict=True):
        library.set_num_threads(threads)


def _there_are() -> int:
    return int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009  (its attributes are made at run time)


def _started() -> Callable[[], int] | None:
    """What reads numba's setting for this thread, once its own threads are started."""
    return getattr(parallel, "_get_num_threads", None)


def _openmp_libraries() -> list[Any]:
    """Those of this process, with the one that numba would load."""
    with suppress(ImportError):
        importlib.import_module("numba.np.ufunc.omppool")
    return list(ThreadpoolController().select(user_api="openmp").lib_controllers)
