"""A file that a library may go on writing to after the disk is full."""

from __future__ import annotations

import io
from typing import Any


class GuardedFile(io.FileIO):
    """A file that takes note of the first error and then pretends to write.

    HDF5 cannot close a file on a full disk: it tries again to write what is in its caches, and at
    last aborts the interpreter. Here it always succeeds, and `error` says what really happened.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        while len(left) and self.error is None:
            try:
                left = left[super().write(left) or 0 :]
            except OSError as error:
                self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error
        return size or 0
