"""BLAS on one thread where the last digits matter."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from threadpoolctl import ThreadpoolController

from solvers._support import scipy_blas

_lock = threading.Lock()
#: which threads are in the context, once for each time they have entered
_inside: set[tuple[int, object]] = set()
_before: dict[int, int] = {}  # of those libraries that are limited, their numbers of threads


class one_blas_thread:  # noqa: N801  (as a function of contextlib it would take twice as long, with every kernel)
    """Context in which BLAS runs on one thread, until the last thread of the program has left it.

    The number is the whole process's. threadpoolctl's own context gives back what it found when it ends, though another thread is
    still in another one; and since version 3.8 it does nothing, silently, where another thread has set the number before.
    """

    def __init__(self) -> None:
        self._token = threading.get_ident(), object()

    def __enter__(self) -> None:
        _enter(self._token)

    def __exit__(self, *_: object) -> None:
        _leave(self._token)

    def __del__(self) -> None:
        if self._token in _inside:  # interrupted while it was entered or left
            _leave(self._token)


def _enter(token: tuple[int, object]) -> None:
    with _lock:
        _inside.add(token)
        for i, library in enumerate(blas_libraries()):
            threads = library.get_num_threads()
            if threads != 1:
                _before.setdefault(i, threads)
                _set_threads(library, 1)


def _leave(token: tuple[int, object]) -> None:
    with _lock:
        _inside.discard(token)
        if not _inside:
            for i, threads in _before.items():
                _set_threads(blas_libraries()[i], threads)
            _before.clear()


def _set_threads(library: Any, count: int) -> None:
    release = getattr(library, "clear_controlling_thread", lambda **_: None)
    release(force=True)
    library.set_num_threads(count)
    release(force=True)  # a program may limit its threads from any other thread


def _after_fork() -> None:
    """Of the threads only this one is left, and another may have held the lock."""
    global _lock
    _lock = threading.Lock()
    _inside.intersection_update([token for token in _inside if token[0] == threading.get_ident()])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def blas_libraries() -> list[Any]:
    """The libraries of NumPy and SciPy, as threadpoolctl controls them."""
    scipy_blas.load()  # a library of its own, which must be loaded to be found
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
