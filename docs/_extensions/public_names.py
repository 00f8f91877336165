"""The public names of the packages: what the reference shows, and what must have a docstring with an example."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

#: The public modules, in the order of the reference, each with the full name of its home.
MODULES = {
    "solvers": "solvers",
    "solvers.transport": "solvers.transport",
    "solvers.energies": "solvers.measures.energies",
    "solvers.flows": "solvers.flows",
    "meanfield": "meanfield",
    "meanfield.tasks": "meanfield.tasks",
    "meanfield.landscapes": "meanfield.landscapes",
    "meanfield.initializers": "meanfield.initializers",
    "meanfield.distributed": "meanfield.distributed",
    "meanfield.study.figures": "meanfield.study.figures",
}


class Name(NamedTuple):
    """A public name and what it stands for."""

    module: str
    name: str
    thing: Any

    @property
    def full(self) -> str:
        """As a user writes it."""
        return f"{self.module}.{self.name}"

    @property
    def is_data(self) -> bool:
        """Whether it is neither a class nor a function."""
        return not (inspect.isclass(self.thing) or inspect.isroutine(self.thing))


def public_names() -> list[Name]:
    """Every name of ``__all__`` of the public modules, modules excepted."""
    found = []
    for module, home in MODULES.items():
        imported = sys.modules[module] = importlib.import_module(home)
        for name in imported.__all__:
            thing = getattr(imported, name)
            if not inspect.ismodule(thing):
                found.append(Name(module, name, thing))
    return found


def shown_members(
    entry: Name, pages: set[int], commented: Callable[[type], list[str]] = lambda kind: []
) -> list[str]:
    """The documented members of a class: its own, and those of bases that have no page of their own, by their ids.

    `commented` are the attributes of a class that have a comment ``#:``.
    """
    found: dict[str, None] = {}
    for kind in entry.thing.__mro__:
        if kind is not entry.thing and (id(kind) in pages or not _is_ours(kind)):
            continue
        found |= dict.fromkeys(commented(kind))
        for name, member in vars(kind).items():
            if not name.startswith("_") and _text(member):
                found.setdefault(name)
    return list(found)


def summary(thing: Any) -> str:
    """The first paragraph of a docstring, up to its equation."""
    text = inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0]
    return re.sub(r":$", ".", " ".join(text.split()))


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("meanfield", "solvers")


def _text(member: Any) -> str | None:
    function = getattr(member, "__func__", member)
    if isinstance(function, property | cached_property) or inspect.isfunction(function):
        return function.__doc__
    return None
