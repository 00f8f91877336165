"""Cache of compiled code on disk, where possible. No kernel needs it: without a folder, code is compiled in every process.

Numba's cache on disk identifies a function by its own file and bytecode, and would run outdated code after an edit of a function
that it calls in another file. Here the key is a name that states what the function closes over, and a digest of all files of
the function's directory and of this one: an edit of any of them triggers a new compilation.
"""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache
from numba.core.runtime.nrt import rtsys

REMEDY = "set NUMBA_CACHE_DIR to a folder that can be written"


class Cache(NullCache):
    """What numba asks for compiled code; nothing is looked for on disk before the first function is compiled.

    Parameters
    ----------
    function : callable
    name : str
        Distinguishes the function from all others generated from the same source.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name

    @functools.cached_property
    def _kept(self) -> _Kept | None:
        try:
            return _Kept(self._function, self._name)
        except (RuntimeError, OSError):  # numba found no folder
            _say("there is no folder for it that can be written")
            return None

    @property
    def cache_path(self) -> str | None:
        return None if self._kept is None else self._kept.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        if self._kept is None:
            return None
        try:
            return self._kept.load_overload(sig, target_context)
        except Exception:  # a damaged file, or another user's: pickle raises nearly anything
            self._kept.forget()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if self._kept is None:
            return
        try:
            self._kept.save_overload(sig, data)
        except Exception as error:  # the disk is full, the quota used up, the folder gone
            self._kept.forget()
            _say(f"{self.cache_path}: {getattr(error, 'strerror', None) or error}")


class _Files(CompileResultCacheImpl):
    """Where numba looks for a folder. A user without a home would get one called ``~`` in the current folder."""

    _locator_classes: Any = tuple(
        locator
        for locator in CompileResultCacheImpl._locator_classes
        if os.path.isabs(os.path.expanduser("~")) or "UserWide" not in locator.__name__
    )


class _Kept(FunctionCache):
    """Numba's cache on disk with a key of our own."""

    _impl_class = _Files

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        super().__init__(function)
        self._name_and_sources = (name, _sources(Path(function.__code__.co_filename).parent))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What numba's does, without importing what it compiles with, which a process does not need for code on disk."""
        rtsys.initialize(target_context)  # the memory of arrays
        return self._load_overload(sig, target_context)

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (signature, codegen.magic_tuple(), self._name_and_sources)

    def forget(self) -> None:
        """Remove the index: one written without its data would refer to data of another source."""
        with suppress(OSError):
            os.unlink(self._cache_file._index_path)


@functools.cache
def _sources(folder: Path) -> str:
    """Digest of every file of a directory, and of this one."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")) + sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_said: list[str] = []


def _say(reason: str) -> None:
    """Warn once per process."""
    if not _said:
        _said.append(reason)  # first: a warning may be turned into an error
        warnings.warn(
            f"compiled code cannot be kept ({reason}); every process compiles it anew, for up to minutes: {REMEDY}",
            stacklevel=2,
        )
