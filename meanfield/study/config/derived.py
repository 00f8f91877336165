"""Tables of a configuration derived from functions or classes: their keys are the parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pydantic
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from solvers._support.annotations import is_path, parameters, split


class Section(BaseModel):
    """A table of the TOML: unknown keys raise, and values are not converted."""

    # validators are built on first use: that of the whole includes those of its tables, which nothing asks for by themselves
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class NamedSection(Section):
    """A table selected by a name; it is pickled by that name, as its class is created dynamically."""

    name: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self).__bases__[0], self.model_dump(exclude_unset=True))


def _restored(base: type[NamedSection], values: dict[str, Any]) -> Section:
    return _SECTIONS[base][values["name"]](**values)


S = TypeVar("S", bound=NamedSection)

# absolute, as a run may be resumed from another folder
DataPath = Annotated[str, pydantic.AfterValidator(lambda path: str(Path(path).absolute()))]
_SEQUENCES = (tuple, list, Sequence)
_Row = Annotated[
    tuple[Annotated[float, pydantic.Field(allow_inf_nan=False)], ...], pydantic.Field(strict=False)
]
Matrix = Annotated[tuple[_Row, ...], pydantic.Field(strict=False)]


def derived_section(
    name: str, called: Callable[..., Any], base: type[S], without: Sequence[str] = ()
) -> type[S]:
    """A table selected by ``name = "<name>"``; its other keys are the parameters of the function or class, with their defaults.

    Raises
    ------
    ValueError
        A parameter cannot be represented in TOML.
    """
    fields: dict[str, Any] = {"name": (Literal[name], ...)}
    for key, (annotation, default) in parameters(called).items():
        if key not in without:
            kind = _key_type(f"{name}: the parameter {key}", annotation)
            fields[key] = (kind, _field(annotation, default))
    section: type[S] = create_model(
        f"{called.__name__}_section", __base__=base, __doc__=called.__doc__, **fields
    )
    return section


def path_keys(called: Callable[..., Any]) -> list[str]:
    """The parameters that are paths."""
    return [key for key, (kind, _) in parameters(called).items() if is_path(split(kind)[0])]


def _key_type(what: str, annotation: Any) -> Any:
    """The pydantic type of a key for a parameter with this annotation."""
    kind, bounds = split(annotation)
    origin, members = get_origin(kind), get_args(kind)
    if kind in (bool, str) or origin is Literal:
        return kind
    if kind is int:  # integers of a file have 64 bits
        limits = {"ge": -(2**63)} if not bounds.keys() & {"ge", "gt"} else {}
        limits |= {"lt": 2**64} if not bounds.keys() & {"le", "lt"} else {}
        return Annotated[int, pydantic.Field(**(limits | bounds))]
    if kind is float:
        return Annotated[float, pydantic.Field(allow_inf_nan=False, **bounds)]
    if kind == ArrayLike:
        return Matrix
    if is_path(kind):
        return DataPath | None if NoneType in members else DataPath
    if origin in (Union, UnionType):
        return Union[tuple(m if m is NoneType else _key_type(what, m) for m in members)]  # noqa: UP007
    if origin in _SEQUENCES and members:
        items = tuple(m if m is Ellipsis else _key_type(what, m) for m in members)
        of = tuple[items] if origin is tuple else tuple[items[0], ...]  # type: ignore[valid-type]
        return Annotated[of, pydantic.Field(strict=False)]  # an array, in TOML
    raise ValueError(
        f"{what} must be annotated as bool, int, float, str, a path, a Literal, a sequence of these or one of them or None, "
        f"got {annotation}"
    )


def _field(annotation: Any, default: Any) -> Any:
    if default is Parameter.empty:
        return ...
    if is_path(split(annotation)[0]) and default is not None:
        return pydantic.Field(os.fspath(default), validate_default=True)
    return default


_SECTIONS: dict[type[NamedSection], Mapping[str, type[Section]]] = {}  # by their base


class Sections(Mapping[str, type[S]]):
    """The tables derived from named functions or classes, created on first use."""

    def __init__(
        self, registry: Mapping[str, Callable[..., Any]], base: type[S], without: Sequence[str] = ()
    ) -> None:
        self._registry, self._base, self._without = registry, base, without
        self._made: dict[str, tuple[Any, type[S]]] = {}
        _SECTIONS[base] = self

    def __getitem__(self, name: str) -> type[S]:
        called = self._registry[name]
        if self._made.get(name, (None,))[0] is not called:
            self._made[name] = called, derived_section(name, called, self._base, self._without)
        return self._made[name][1]

    def __contains__(self, name: object) -> bool:
        return name in self._registry

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)


class Chosen:
    """Annotation of a field whose table is one of several sections, selected by the value of a key and looked up when it is
    read.
    """

    def __init__(self, key: str, sections: Mapping[str, type[Section]]) -> None:
        self.key, self.sections = key, sections

    def section(self, table: object) -> type[Section] | None:
        """The section of a table; None if it names none."""
        name = table.get(self.key) if isinstance(table, dict) else getattr(table, self.key, None)
        return self.sections[name] if isinstance(name, str) and name in self.sections else None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validated)

    def _validated(self, table: object) -> Section:
        if isinstance(table, Section):
            return table
        if not isinstance(table, dict):
            raise PydanticKnownError("model_type", {"class_name": "Section"})
        about = {"discriminator": repr(self.key)}
        if self.key not in table:
            raise PydanticKnownError("union_tag_not_found", about)
        try:
            section = self.section(table)
        except ValueError as error:
            raise ValueError(f"{self.key}: {error}") from error
        if section is None:
            about |= {
                "tag": str(table[self.key]),
                "expected_tags": ", ".join(map(repr, self.sections)),
            }
            raise PydanticKnownError("union_tag_invalid", about)
        return section.model_validate(table)
