"""Errors of a configuration, one line each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from meanfield.study.config.derived import Chosen

# Conditions in terms of TOML, replacing pydantic's own.
CONDITIONS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "tuple_type": "an array",
    "too_short": "at least one process",
}
BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}

MOST = 100  # letters of a key shown


class ConfigError(ValueError):
    """Invalid settings: `lines` of ``<section.key> must be <condition>, got <value>``."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def describe(
    error: ValidationError, model: type[BaseModel], given: dict[str, Any] | None = None
) -> list[str]:
    """One line for each error of pydantic's: the key, the condition and the value; `given` is what was validated."""
    return [_line(details, model, given) for details in error.errors(include_url=False)]


def _line(details: ErrorDetails, model: type[BaseModel], given: dict[str, Any] | None) -> str:
    keys, section = _resolve(details["loc"], model, given)
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    key = ".".join(name if len(name) <= MOST else f"{name[:MOST]}…" for name in keys)
    if kind == "extra_forbidden":
        known = list(section.model_fields)
        hint = _did_you_mean(keys[-1], known)
        return f"{key} is not a known key; known keys: {', '.join(known)}{hint}"
    if kind == "missing":
        return f"{key} must be given, it has no default"
    if kind == "union_tag_invalid":
        variant, allowed = context["discriminator"].strip("'"), context["expected_tags"]
        hint = _did_you_mean(context["tag"], [tag.strip("'") for tag in allowed.split(", ")])
        return f"{key}.{variant} must be one of {allowed}, got {context['tag']!r}{hint}"
    if kind == "union_tag_not_found":
        return f"{key}.{context['discriminator'].strip(chr(39))} must be given, it has no default"
    if kind == "value_error":  # raised by our own validators
        return _told(key, keys[-1] if keys else "", value, str(context["error"]))
    hint = ""
    if kind == "literal_error" and isinstance(value, str):
        hint = _did_you_mean(
            value, [word.strip("'") for word in context["expected"].split("'")[1::2]]
        )
    condition = _condition(kind, context) or details["msg"].removeprefix("Input should be ")
    return f"{key} must be {condition}, got {value!r}{hint}"


def _condition(kind: str, context: dict[str, Any]) -> str | None:
    """The condition on the value; None to use pydantic's own text."""
    if kind in BOUNDS:
        word, name = BOUNDS[kind]
        bound = context[name]
        return f"{word} {bound:g}" if isinstance(bound, float) else f"{word} {bound}"
    return CONDITIONS.get(kind)


def _resolve(
    loc: tuple[int | str, ...], model: type[BaseModel], given: Any
) -> tuple[list[str], type[BaseModel]]:
    """The keys of the TOML in pydantic's location, and the section of the last of them.

    Pydantic inserts ``[key]`` for an invalid name of a mapping, which is removed.
    """
    keys: list[str] = []
    section, annotation = model, None
    for part in [str(part) for part in loc if part != "[key]"]:
        keys.append(part)
        given = given.get(part) if isinstance(given, dict) else None
        if annotation is not None:  # a name inside a mapping of sections
            members, annotation = (annotation,), None
        else:
            field = section.model_fields.get(part)
            if field is None:
                break
            if get_origin(field.annotation) is dict:
                annotation = get_args(field.annotation)[1]
                continue
            members = (field.annotation, *field.metadata)
        section = _section(members, given) or section
    return keys, section


def _section(members: tuple[Any, ...], given: Any) -> type[BaseModel] | None:
    """The section of a table, from the members of its field's annotation."""
    chosen = _chosen(members)
    if chosen is None:
        return next((found for member in members for found in _sections(member)), None)
    with suppress(ValueError):  # one that cannot be imported
        return chosen.section(given)
    return None


def _chosen(members: Iterable[Any]) -> Chosen | None:
    """How the section of a field is selected, from the members of its annotation."""
    for member in members:
        found = member if isinstance(member, Chosen) else _chosen(get_args(member))
        if found is not None:
            return found
    return None


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for member in get_args(annotation) for section in _sections(member)]


def _told(key: str, last: str, value: Any, message: str) -> str:
    """The message of a validator with the full key; a message about an argument begins with the last part of the key."""
    if last and message.startswith((f"{last} ", f"{last}[")):
        return f"{key}{message.removeprefix(last)}"
    return f"{key}{_joint(key, value, message)}{message}"


def _joint(key: str, value: Any, text: str) -> str:
    """Separator of key and message: the message of a table begins with a key in it, that of the whole file with a key."""
    if not key:
        return ""
    if isinstance(value, dict):
        return "."
    return " " if text.startswith("must ") else ": "


def _did_you_mean(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
