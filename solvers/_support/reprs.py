"""Short reprs: arrays by precision and shape, never by their values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

_WIDTH = 100
_MANY = 6  # objects of a tuple that are counted instead of shown


def described(name: str, values: Iterable[tuple[str, object]]) -> str:
    """``Name(key=value, …)`` in as few lines as it takes."""
    text = f"{name}({', '.join(f'{key}={_short(value)}' for key, value in values)})"
    return textwrap.fill(
        text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def compact_repr(instance: Any) -> str:
    """The `__repr__` of a dataclass of arrays."""
    shown = [(f.name, getattr(instance, f.name)) for f in fields(instance) if f.repr]
    return described(type(instance).__name__, shown)


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value):
        return f"({', '.join(map(_short, value))}{',' * (len(value) == 1)})"
    if (
        isinstance(value, tuple)
        and len(value) > _MANY
        and hasattr(value[0], "__dataclass_fields__")
    ):
        return f"({len(value)} × {type(value[0]).__name__})"
    if isinstance(value, np.generic):
        return repr(value.item())
    return repr(value)
