"""A file with transactions: if its process dies at any time, its content is that of a commit.

Writes beyond the end of the file at the last commit are carried out at once: nothing refers to them yet. Writes that would
overwrite something are kept in memory until the commit. Then they are written to a journal, a second file with a checksum, from
there to the file, and the journal is emptied. A process that dies leaves either a complete journal, which `replay` applies
again, or an incomplete one, and then nothing has been overwritten yet.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile

MAGIC = b"MFjournl"
_DIGEST_BYTES = 16
_HEADER = struct.Struct(f"<8s{_DIGEST_BYTES}sQ")  # magic, digest and length of what follows
_LARGEST = 2**63 - 1  # of a file
_SIZES = struct.Struct("<QQ")  # the file's size, how many pieces; of a piece: offset, length


@dataclass(frozen=True)
class Changes:
    """Pieces of bytes by their offset, in the order in which they were written, and the size of the file after them."""

    size: int
    pieces: tuple[tuple[int, bytes], ...]

    def encoded(self) -> bytes:
        """The bytes of the journal."""
        heads = [_SIZES.pack(offset, len(data)) for offset, data in self.pieces]
        body = b"".join(
            [_SIZES.pack(self.size, len(self.pieces)), *heads, *(data for _, data in self.pieces)]
        )
        return _HEADER.pack(MAGIC, _digest(body), len(body)) + body

    @classmethod
    def decoded(cls, content: bytes) -> Changes | None:
        """The changes; None if the content is incomplete."""
        if len(content) < _HEADER.size:
            return None
        magic, digest, length = _HEADER.unpack_from(content)
        body = content[_HEADER.size : _HEADER.size + length]
        if magic != MAGIC or len(body) != length or _digest(body) != digest:
            return None
        if length < _SIZES.size:
            return None
        size, count = _SIZES.unpack_from(body)
        position, pieces = _SIZES.size * (1 + count), []
        if position > length:
            return None
        for i in range(count):
            offset, length = _SIZES.unpack_from(body, _SIZES.size * (1 + i))
            if position + length > len(body) or offset + length > _LARGEST:
                return None
            pieces.append((offset, body[position : position + length]))
            position += length
        return cls(size, tuple(pieces)) if size <= _LARGEST else None

    def apply(self, file: FaultTolerantFile) -> None:
        """Write every piece to the file."""
        for offset, data in self.pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(self.size)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def overwrite(buffer: memoryview, start: int, pieces: Iterable[tuple[int, bytes]]) -> None:
    """Copy the parts of the pieces that lie within a buffer, the bytes of a file from `start` on, into it."""
    end = start + len(buffer)
    for offset, data in pieces:
        low, high = max(offset, start), min(offset + len(data), end)
        if low < high:
            buffer[low - start : high - start] = data[low - offset : high - offset]


def journal_path(path: Path) -> Path:
    """The path of the journal of a file."""
    return path.with_name(path.name + ".journal")


def read_changes(descriptor: int) -> Changes | None:
    """The changes in a journal, if it is complete."""
    size = os.fstat(descriptor).st_size
    if size < _HEADER.size:
        return None
    with open(os.dup(descriptor), "rb", buffering=0) as journal:
        journal.seek(0)
        return Changes.decoded(journal.read(size))


class PatchedFile:
    """A read-only file with changes that have not been applied yet."""

    def __init__(self, file: Any, changes: Changes) -> None:
        self._file, self._position = file, 0
        self._size, self._pieces = changes.size, list(changes.pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        data = bytearray(self._size - self._position if size < 0 else size)
        return bytes(data[: self.readinto(data)])

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view = view[: max(0, self._size - self._position)]
        self._file.seek(self._position)
        count = 0
        while count < len(view) and (got := self._file.readinto(view[count:])):
            count += got
        view[count:] = bytes(len(view) - count)  # beyond the current end of the file
        overwrite(view, self._position, self._pieces)
        self._position += len(view)
        return len(view)


class JournaledFile(PatchedFile):
    """A file object for libraries that write to Python files; changes are visible here at once, in the file after `commit`.

    After the first error it ignores writes, as `FaultTolerantFile` does, and `commit` has no effect.

    Parameters
    ----------
    file : FaultTolerantFile
        Open for reading and writing.
    journal : FaultTolerantFile
        Open for reading and writing, empty.
    """

    def __init__(self, file: FaultTolerantFile, journal: FaultTolerantFile) -> None:
        super().__init__(file, Changes(file.seek(0, os.SEEK_END), ()))
        self._journal, self._committed = journal, self._size

    @property
    def error(self) -> OSError | None:
        """The first error."""
        return self._file.error or self._journal.error

    def fileno(self) -> int:
        """The file's descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file and discard uncommitted changes. The journal stays open."""
        self._file.close()

    def sync(self) -> None:
        """Wait until the committed changes have reached the disk."""
        if self.error is None:
            try:
                os.fsync(self.fileno())
            except OSError as error:
                self._file.error = error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        known = min(len(view), max(0, self._committed - self._position))
        if known and self.error is None:
            self._pieces.append((self._position, bytes(view[:known])))
        if known < len(view):
            self._file.seek(self._position + known)
            self._file.write(view[known:])
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        if size > self._committed:
            self._file.truncate(size)
        self._size = size
        return size

    def flush(self) -> None:
        pass

    def commit(self) -> None:
        """Apply all changes since the last commit in one transaction."""
        changes = Changes(self._size, tuple(self._pieces))
        if self.error is not None:
            return
        if self._pieces or self._size < self._committed:
            self._journal.seek(0)
            self._journal.write(changes.encoded())
            if self._journal.error is not None:
                return
            changes.apply(self._file)
            if self._file.error is not None:
                return
            self._journal.truncate(0)
        self._committed = self._size
        self._pieces.clear()


def replay(file: FaultTolerantFile, journal: FaultTolerantFile) -> None:
    """Apply the changes that a process left in its journal when it died.

    Raises
    ------
    OSError
        The changes cannot be written.
    """
    changes = read_changes(journal.fileno())
    if changes is not None:
        if changes.size > file.seek(0, os.SEEK_END) + sum(len(data) for _, data in changes.pieces):
            raise OSError(errno.EINVAL, "its journal is of another file")
        changes.apply(file)
        if file.error is not None:
            raise file.error
    journal.truncate(0)
    if journal.error is not None:
        raise journal.error
