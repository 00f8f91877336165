"""The folder of a run: which files are in it while it goes on, and that one process only writes them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from meanfield.study.storage.files.guarded import GuardedFile, open_own
from meanfield.study.storage.files.journal import JournaledFile, journal_path, replay
from meanfield.study.storage.files.lock import claim
from meanfield.study.storage.layout import FILE_NAME, OutputError

PARTIAL_NAME = f"{FILE_NAME}.partial"


class FolderInUseError(ValueError):
    """Another process is running in the folder."""


class RunFolder:
    """Holds a folder for the run that writes ``run.h5.partial`` in it, and later gives that its final name.

    The journal of the file is there as long as the run, and is locked by its process.

    Parameters
    ----------
    path : Path
    patience : float
        Seconds to wait for it.

    Raises
    ------
    FolderInUseError
        Another process holds it.
    OutputError
        Nothing can be written there.
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
        """Let go of the folder."""
        if not self.journal.closed:
            if not self.partial.exists():
                journal_path(self.partial).unlink(missing_ok=True)
            self.journal.close()

    def begin(self) -> JournaledFile:
        """A new file, empty. Whoever reads what a crash left goes on reading it, and its journal."""
        if self.partial.exists():
            self.partial.unlink()
            self._renew_journal()
        self.journal.truncate(0)
        return JournaledFile(GuardedFile(self.partial, "w+b", opener=open_own), self.journal)

    def go_on(self) -> JournaledFile:
        """The file that a run left which did not end, as it was at its last commit."""
        if not self.partial.exists():
            self.journal.truncate(0)  # whatever it holds is not of this file
            os.replace(self.final, self.partial)
        file = GuardedFile(self.partial, "r+b", opener=open_own)
        try:
            replay(file, self.journal)
        except OSError:
            file.close()
            raise
        return JournaledFile(file, self.journal)

    def finish(self, file: JournaledFile) -> None:
        """Give the file its final name; OSError if it does not reach the disk."""
        file.sync()
        if file.error is not None:
            raise file.error
        file.close()
        os.replace(self.partial, self.final)
        sync_folder(self.path)
        self.close()

    def discard(self) -> None:
        """Remove what was written."""
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
    """Wait until the names in a folder have reached the disk, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # not every system opens folders
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
