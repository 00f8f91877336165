"""The one compilation setting of the kernels, the same in both packages.

``error_model="numpy"`` keeps loops vectorisable (no branch on division by zero). The fast-math flags leave out everything
that could change a NaN or an infinity, and ``reassoc``, so that sums are taken in the order written.
"""

from typing import Any

import numba

_FAST_MATH = {"contract", "nsz", "arcp"}


def kernel(*, parallel: bool = False, inline: bool = False) -> Any:
    """Decorator for a compiled kernel, cached on disk."""
    return numba.njit(
        cache=True,
        error_model="numpy",
        fastmath=_FAST_MATH,
        parallel=parallel,
        inline="always" if inline else "never",
    )
