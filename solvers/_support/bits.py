"""Whether an array is the same as an earlier one, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Bits:
    """The type, shape and bytes of an array, kept to be compared with other arrays.

    Other than ``tobytes`` of both, a comparison copies nothing: a bytearray compares with any memory.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._kind = array.dtype.char, array.shape
        self._bytes = bytearray(np.ascontiguousarray(array).data)

    def are_of(self, array: NDArray[Any]) -> bool:
        """Whether these are the array's."""
        same_kind = self._kind == (array.dtype.char, array.shape)
        return same_kind and self._bytes == np.ascontiguousarray(array).data
