"""Digests of arrays."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest(*arrays: NDArray[Any]) -> str:
    """SHA-256 of arrays: of their values, shapes and dtypes, in order."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def fingerprint(array: NDArray[Any]) -> str:
    """An array in a message: dtype, shape, and the beginning of its digest."""
    return f"{array.dtype} of shape {array.shape} with SHA-256 {digest(array)[:16]}"
