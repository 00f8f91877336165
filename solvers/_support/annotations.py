"""Checking arguments by the annotations of their parameters.

A range is declared once, in the signature, as a type that pydantic understands too: ``Annotated[int, Ge(1), Le(1797)]``. The
checks of a function's arguments and of a configuration are both derived from it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from annotated_types import Ge, GroupedMetadata, Gt, Interval, Le, Lt

from solvers._support.arguments import choice, count, flag, instance, real, refusal, the_path

P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "Ge",
    "Gt",
    "Interval",
    "Le",
    "Lt",
    "check",
    "checked",
    "is_configurable",
    "is_path",
    "parameters",
    "split",
]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that its arguments are checked by their annotations, see `check`."""

    @functools.wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = _signature(function).bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # raises the TypeError with the function's name
        hints = _hints(function)
        for name, value in bound.arguments.items():
            bound.arguments[name] = check(name, value, hints.get(name, Any))
        return function(*bound.args, **bound.kwargs)

    return checking


def check(name: str, value: object, annotation: Any) -> Any:
    """Check and convert an argument by its annotation; a ValueError names it.

    Supported are ``bool``, ``int`` and ``float`` with bounds, a ``Literal`` of names, a path, and any of these or None; others
    pass.
    """
    kind, bounds = split(annotation)
    members = get_args(kind)
    if get_origin(kind) is Literal:
        return choice(name, value, members)
    if kind is bool:
        return flag(name, value)
    if kind is str:
        return instance(name, value, str)
    if kind is int:
        return count(name, value, bounds.get("ge"), bounds.get("le"))
    if kind is float:
        names = {"gt": "above", "ge": "least", "lt": "below", "le": "most"}
        return real(name, value, **{names[key]: bound for key, bound in bounds.items()})
    if NoneType in members and value is None:
        return None
    if is_path(kind):
        return the_path(name, value)
    if get_origin(kind) in (Union, UnionType):
        rest = [member for member in members if member is not NoneType]
        return _check_any(name, value, rest)
    if get_origin(kind) is tuple and is_configurable(kind):
        return _check_each(name, value, members)
    return value


def _check_any(name: str, value: object, kinds: list[Any]) -> Any:
    """Check an argument against several annotations."""
    if len(kinds) == 1:
        return check(name, value, kinds[0])
    if not all(map(is_configurable, kinds)):
        return value
    conditions = []
    for kind in kinds:
        try:
            return check(name, value, kind)
        except ValueError as error:
            message = str(error).removeprefix(f"{name} must be ")
            conditions.append(message.partition(", got ")[0])
    raise refusal(name, " or ".join(conditions), value)


def _check_each(name: str, value: object, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check a tuple of the annotation's length, or of any length if it ends with ``...``."""
    items: Any = value.tolist() if isinstance(value, np.ndarray) else value
    is_open = kinds[-1] is ...
    is_sequence = isinstance(items, Sequence) and not isinstance(items, str | bytes)
    if not is_sequence or not (is_open or len(items) == len(kinds)):
        raise refusal(name, "a sequence" if is_open else f"a sequence of {len(kinds)}", value)
    each = [kinds[0]] * len(items) if is_open else kinds
    pairs = zip(items, each, strict=True)
    return tuple(check(f"{name}[{i}]", item, kind) for i, (item, kind) in enumerate(pairs))


def is_configurable(annotation: Any) -> bool:
    """Whether a configuration can represent every value of an annotation: numbers, strings, booleans, tuples of them."""
    kind, _ = split(annotation)
    members = get_args(kind)
    if kind in (bool, int, float, str) or get_origin(kind) is Literal:
        return True
    if get_origin(kind) in (Union, UnionType):
        return all(map(is_configurable, members))
    if get_origin(kind) is tuple:
        return bool(members) and all(is_configurable(one) for one in members if one is not ...)
    return False


def split(annotation: Any) -> tuple[Any, dict[str, Any]]:
    """A type without its bounds, and the bounds by the names ``gt``, ``ge``, ``lt``, ``le``."""
    if get_origin(annotation) is not Annotated:
        return annotation, {}
    kind, *metadata = get_args(annotation)
    bounds = {}
    for bound in _flat(metadata):
        for key in ("gt", "ge", "lt", "le"):
            if hasattr(bound, key):
                bounds[key] = getattr(bound, key)
    return kind, bounds


def is_path(kind: Any) -> bool:
    """Whether a type is that of a path, or a union with one."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    bare = (get_origin(one) or one for one in kinds)
    return any(isinstance(one, type) and issubclass(one, os.PathLike) for one in bare)


def parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """The annotation and the default of each parameter of a function; ``inspect.Parameter.empty`` without a default."""
    hints = _hints(function)
    return {
        name: (hints.get(name, Any), parameter.default)
        for name, parameter in _signature(function).parameters.items()
    }


_signature = functools.cache(inspect.signature)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Of a function and of what decorates it the same, evaluated once; of a class those of its parameters."""
    called: Any = inspect.unwrap(function)
    if isinstance(called, type) and not is_dataclass(called):
        called = inspect.unwrap(called.__init__)  # type: ignore[misc]
    return _evaluated(called)


@functools.cache
def _evaluated(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, include_extras=True)


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    for item in metadata:
        if isinstance(item, GroupedMetadata):
            yield from _flat(item)
        else:
            yield item
