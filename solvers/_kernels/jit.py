"""The one compilation setting of the kernels, the same in both packages.

``error_model="numpy"`` keeps loops vectorisable (no branch on division by zero). The fast-math flags leave out everything
that could change a NaN or an infinity, and ``reassoc``, so that sums are taken in the order written.
"""

from collections.abc import Callable
from typing import Any

import numba

from .cache import Cache

_COMPILED = not getattr(numba.config, "DISABLE_JIT")  # noqa: B009  (its attributes are made at run time)
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}


def kernel(function: Callable[..., Any]) -> Any:
    """Decorator for a compiled kernel, kept on disk."""
    compiled = numba.njit(**_OPTIONS)(function)
    if _COMPILED:
        compiled._cache = Cache(function, function.__qualname__)
    return compiled
