"""Options of a dataclass, by its annotations and defaults: checks and configurations are derived from these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from solvers._support.annotations import check, is_configurable
from solvers._support.arguments import settle


class Option(NamedTuple):
    """An option as declared: the annotation of its field, with bounds, and its default if it has one."""

    annotation: Any
    default: Any = MISSING

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    def check(self, name: str, value: object) -> Any:
        """The value as the code wants it; a ValueError with the name, the condition and the value for others."""
        return check(name, value, self.annotation)


@cache
def options_of(kind: type[Any]) -> Mapping[str, Option]:
    """The options of a dataclass by name, in order: its fields of types that a configuration can hold."""
    if not dataclasses.is_dataclass(kind):
        return {}
    fields = [field for field in dataclasses.fields(kind) if field.init]
    hints = _hints(kind)
    found = {field.name: Option(hints[field.name], field.default) for field in fields}
    return {name: option for name, option in found.items() if is_configurable(option.annotation)}


def check_options(instance: object) -> None:
    """Check the options of a dataclass instance, and set each to what its check has made of it."""
    kind: Any = type(instance)
    for name, option in options_of(kind).items():
        settle(instance, **{name: option.check(name, getattr(instance, name))})


def _hints(kind: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except (
        Exception
    ):  # a name that is not known in the module of the class: that of a simple type tells enough
        simple = {one.__name__: one for one in (bool, int, float, str)}
        return {field.name: simple.get(str(field.type)) for field in dataclasses.fields(kind)}
