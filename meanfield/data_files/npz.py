"""Reader of arrays in an untrusted .npz file: what it declares is checked before anything is allocated.

Nothing is unpickled. A member is read if it is stored or deflated, holds as many bytes as its header's dtype and shape ask for,
and does not unpack to more than `FREE_BYTES` unless that is at most `MAX_RATIO` times what it takes in the file.
"""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FREE_BYTES = 64 * 2**20
MAX_RATIO = 100  # measured or random numbers hardly compress
_MAX_HEADER = 4096  # bytes; that of a matrix has 118


class ArchiveError(ValueError):
    """An archive without the needed arrays, or one that exceeds a limit of this reader."""


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by name.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ArchiveError
        It is not an archive, or lacks these arrays, or they are not plain numbers.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device may never end
        raise ArchiveError("the file must be an .npz archive, got a folder or a device")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _read(archive, members, name) for name in names}
    except ArchiveError:
        raise
    # For arbitrary bytes zipfile, zlib and the parser of headers may raise nearly anything.
    except Exception as error:
        raise ArchiveError(
            "the file must be an .npz archive, got one that cannot be read"
        ) from error


def _read(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str) -> NDArray[Any]:
    if name not in members:
        known = ", ".join(map(ascii, list(members)[:10])).replace("'", "")
        raise ArchiveError(f"the file must have an array {name!r}, got {known or 'no arrays'}")
    info = members[name]
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(
            f"{name} must be stored or deflated, as by NumPy, got another compression"
        )
    if info.file_size > max(FREE_BYTES, MAX_RATIO * info.compress_size):
        raise ArchiveError(
            f"{name} must unpack to at most {MAX_RATIO} times its size, "
            f"got {info.file_size} bytes from {info.compress_size}"
        )
    with archive.open(info) as file:
        dtype, shape, order = _header(file, name)
        content = file.read()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ArchiveError(f"{name} must hold the {dtype} array of its header, got another size")
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _header(file: Any, name: str) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """The dtype, shape and order of an .npy file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):  # later versions are for field names
        raise ArchiveError(f"{name} must be of version 1 or 2 of NumPy's format, got {version}")
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(file, max_header_size=_MAX_HEADER)
    if dtype.hasobject:
        raise ArchiveError(f"{name} must hold numbers, got Python objects")
    if dtype.kind not in "buif":
        raise ArchiveError(f"{name} must hold real numbers, got dtype {dtype.str:.20}")
    return dtype, shape, "F" if fortran else "C"
