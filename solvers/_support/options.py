"""Options of a dataclass, from which checks and configurations are derived."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from solvers._support.annotations import check, is_configurable
from solvers._support.arguments import settle


class Option(NamedTuple):
    """A declared option: the annotation of its field, with bounds, and its default if it has one."""

    annotation: Any
    default: Any = MISSING

    @property
    def is_required(self) -> bool:
        """Whether the option has no default."""
        return self.default is MISSING

    def check(self, name: str, value: object) -> Any:
        """The checked and converted value; a ValueError with name, condition and value if it is invalid."""
        return check(name, value, self.annotation)


@cache
def options_of(kind: type[Any]) -> Mapping[str, Option]:
    """The options of a dataclass by name, in order: its fields of types that a configuration can represent."""
    if not dataclasses.is_dataclass(kind):
        return {}
    fields = [field for field in dataclasses.fields(kind) if field.init]
    hints = _hints(kind)
    found = {field.name: Option(hints[field.name], field.default) for field in fields}
    return {name: option for name, option in found.items() if is_configurable(option.annotation)}


def check_options(instance: object) -> None:
    """Check the options of a dataclass instance, and set each to its checked value."""
    kind: Any = type(instance)
    for name, option in options_of(kind).items():
        settle(instance, **{name: option.check(name, getattr(instance, name))})


def _hints(kind: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except (
        Exception
    ):  # a name unknown in the module of the class: the name of a simple type suffices
        simple = {one.__name__: one for one in (bool, int, float, str)}
        return {field.name: simple.get(str(field.type)) for field in dataclasses.fields(kind)}
