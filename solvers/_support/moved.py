"""Old names of modules, importable for one more version."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def keep_importable(names: Mapping[str, str]) -> None:
    """Let ``import old.name`` find the module of the new name, with a DeprecationWarning.

    Parameters
    ----------
    names : mapping
        Full new names by full old names.
    """
    sys.meta_path.append(_Finder(dict(names)))


class _Alias(ModuleType):
    """A module that forwards to another one."""

    def __init__(self, name: str, home: str) -> None:
        super().__init__(name, f"Moved to `{home}`.")
        self._home = import_module(home)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._home, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Where the package has a function of that name now: importing the old module puts it in the function's place."""
        return getattr(self._home, self.__name__.rpartition(".")[2])(*arguments, **keywords)


class _Finder(MetaPathFinder, Loader):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self._names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        home = self._names[spec.name]
        warnings.warn(
            f"{spec.name} has moved to {home}; the old name goes in the next version",
            DeprecationWarning,
            stacklevel=2,
        )
        return _Alias(spec.name, home)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the other module is loaded already."""
