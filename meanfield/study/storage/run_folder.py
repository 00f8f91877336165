"""The folder of a run: its files, and the lock that ensures a single writer."""

from __future__ import annotations

import os
import time
from pathlib import Path

from meanfield.study.storage.files.fault_tolerant import FaultTolerantFile, open_own
from meanfield.study.storage.files.journal import JournaledFile, journal_path, replay
from meanfield.study.storage.files.lock import claim
from meanfield.study.storage.schema import FILE_NAME, OutputError

PARTIAL_NAME = f"{FILE_NAME}.partial"


class FolderInUseError(ValueError):
    """Another process writes in the folder."""


class RunFolder:
    """Locks a folder for the run that writes ``run.h5.partial`` in it, and later renames the file.

    The journal of the file exists as long as the run, and is locked by its process.

    Parameters
    ----------
    path : Path
    patience : float
        Seconds to wait for the lock.

    Raises
    ------
    FolderInUseError
        Another process holds the lock.
    OutputError
        The folder is not writable.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        self.path = path
        self.final, self.partial = path / FILE_NAME, path / PARTIAL_NAME
        give_up = time.monotonic() + patience
        try:
            while (journal := claim(journal_path(self.partial))) is None:
                if time.monotonic() >= give_up:
                    break
                time.sleep(0.05)
        except OSError as error:
            raise OutputError(f"{path}: cannot write there: {error.strerror}") from error
        if journal is None:
            raise FolderInUseError(f"{path}: another process is running there")
        self.journal = journal

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder."""
        if not self.journal.closed:
            if not self.partial.exists():
                journal_path(self.partial).unlink(missing_ok=True)
            self.journal.close()

    def begin(self) -> JournaledFile:
        """A new empty file. Readers of a file left by a crash keep that file and its journal."""
        if self.partial.exists():
            self.partial.unlink()
            self._renew_journal()
        self.journal.truncate(0)
        return JournaledFile(FaultTolerantFile(self.partial, "w+b", opener=open_own), self.journal)

    def go_on(self) -> JournaledFile:
        """The file of an unfinished run, as of its last commit."""
        if not self.partial.exists():
            self.journal.truncate(0)  # its content belongs to another file
            os.replace(self.final, self.partial)
        file = FaultTolerantFile(self.partial, "r+b", opener=open_own)
        try:
            replay(file, self.journal)
        except OSError:
            file.close()
            raise
        return JournaledFile(file, self.journal)

    def leave(self, file: JournaledFile) -> None:
        """Leave the file under its partial name; OSError if it does not reach the disk."""
        file.sync()
        if file.error is not None:
            raise file.error
        file.close()
        self.close()

    def finish(self, file: JournaledFile) -> None:
        """Rename the file to its final name; OSError if it does not reach the disk."""
        file.sync()
        if file.error is not None:
            raise file.error
        file.close()
        os.replace(self.partial, self.final)
        sync_folder(self.path)
        self.close()

    def discard(self) -> None:
        """Remove the unfinished file."""
        self.partial.unlink(missing_ok=True)
        self.close()

    def _renew_journal(self) -> None:
        path = journal_path(self.partial)
        temporary = path.with_name(path.name + ".new")
        temporary.unlink(missing_ok=True)
        renewed = claim(temporary)
        if renewed is None:
            raise FolderInUseError(f"{self.path}: another process is running there")
        os.replace(temporary, path)
        self.journal.close()
        self.journal = renewed


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder have reached the disk, where supported."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # not every system can open folders
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
