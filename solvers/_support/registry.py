"""Registries of named objects: the package's own, those of other distributions, and those of user programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from solvers._support.arguments import refusal

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


class Registry(Mapping[str, T], Generic[T]):
    """Functions or classes by name.

    A name is looked up among the package's own, then among those registered in Python, then among the entry points of installed
    distributions, whose modules are imported when their name is looked up. A name is never a path: text from
    a file can only select installed objects.

    Parameters
    ----------
    kind : str
        The kind of the objects, for messages: "task".
    group : str
        The group of entry points, "meanfield.tasks".
    own : mapping
        The package's own objects; strings "module:attribute" are imported when they are looked up.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, T | str]) -> None:
        self._kind, self._group = kind, group
        self._known: dict[str, Any] = dict(own)
        self._registered: set[str] = set()
        self._loaded: dict[str, T] = {}

    def register(self, name: str, thing: T) -> T:
        """Add an object, replacing an earlier one of the same module and name, e.g. from a repeated notebook cell.

        Raises
        ------
        ValueError
            The name is not one of at most 100 letters, digits and underscores, a letter first, or is taken.
        """
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise refusal(
                "name", "at most 100 letters, digits and underscores, a letter first", name
            )
        self.require(name, thing)
        known = self._known.get(name, thing)
        if known is not thing and (name not in self._registered or _place(known) != _place(thing)):
            raise refusal("name", f"one that no other {self._kind} has", name)
        self._known[name] = thing
        self._registered.add(name)
        return thing

    def require(self, name: str, thing: object) -> None:
        """Raise a ValueError unless the object is of this kind."""
        if not callable(thing):
            raise refusal(self._kind, "a function or a class", thing)

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        """Entry points of the installed distributions; the first of equal names."""
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self._group):
            if _NAME.fullmatch(entry.name):
                found.setdefault(entry.name, entry)
        return found

    def __getitem__(self, name: str) -> T:
        if name in self._known:
            known = self._known[name]
            if isinstance(known, str):
                module, _, attribute = known.partition(":")
                known = self._known[name] = getattr(import_module(module), attribute)
            found: T = known
            return found
        if name not in self._loaded:
            self._loaded[name] = self._load(self._entries[name])
        return self._loaded[name]

    def _load(self, entry: EntryPoint) -> T:
        where = f"{self._kind} {entry.name!r} of the installed distribution {_distribution(entry)}"
        try:
            thing: Any = entry.load()
        except Exception as error:  # foreign modules may raise anything
            raise ValueError(f"{where} cannot be imported: {error}") from error
        try:
            self.require(entry.name, thing)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return thing

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._entries

    def __iter__(self) -> Iterator[str]:
        yield from self._known
        yield from (name for name in self._entries if name not in self._known)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def snake_case(name: str) -> str:
    """The name of a class in lower case with underscores: JKOFlow is jko_flow."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _place(thing: object) -> tuple[str, str]:
    """Module and name of a function or class."""
    return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")


def _distribution(entry: EntryPoint) -> str:
    return "unknown" if entry.dist is None else entry.dist.name
