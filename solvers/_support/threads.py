"""BLAS on one thread where the last digits matter."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[Any]:
    """Context in which BLAS runs on one thread."""
    limits: AbstractContextManager[Any] = _blas().limit(limits=1)
    return limits


@functools.cache
def _blas() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401  (SciPy brings a library of its own; it must be loaded to be found)

    return ThreadpoolController().select(user_api="blas")
