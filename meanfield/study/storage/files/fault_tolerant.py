"""A file to which a library may continue writing after an error."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any


class FaultTolerantFile(io.FileIO):
    """A file that records the first error and then ignores writes.

    HDF5 cannot close a file on a full disk: it retries to write its caches, and
    finally aborts the interpreter. Here every write succeeds, and `error` holds the actual error.
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


# not available on every system
_NO_LINK, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)


def open_regular(path: str | Path, flags: int) -> int:
    """A descriptor of a regular file, for `open`: not a pipe or device, which may never end.

    Raises
    ------
    OSError
        It is something else, or cannot be opened.
    """
    descriptor = os.open(path, flags | _NO_WAIT, 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def open_own(path: str | Path, flags: int) -> int:
    """The same without following symbolic links."""
    return open_regular(path, flags | _NO_LINK)
