"""Whether an array is the same as an earlier one, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Contents = tuple[str, tuple[int, ...], memoryview]


class Bits:
    """The type, shape and bytes of an array, kept to be compared with other arrays.

    Other than ``tobytes`` of both, a comparison copies nothing: a bytearray compares with any memory.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        *kind, data = contents(array)
        self._contents = (*kind, bytearray(data))

    def are_of(self, array: NDArray[Any]) -> bool:
        """Whether these are the array's."""
        return self.are(contents(array))

    def are(self, of_other: Contents) -> bool:
        """Whether these are the contents of another array, which may be compared with several."""
        return self._contents == of_other


def contents(array: NDArray[Any]) -> Contents:
    """The type and shape of an array, and a view of its bytes."""
    return array.dtype.char, array.shape, np.ascontiguousarray(array).data
