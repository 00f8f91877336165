"""Checks of arguments; each ValueError names the argument, what came and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


def check_count(name: str, value: object, minimum: int = 1, maximum: int | None = None) -> None:
    """An integer of at least `minimum`, and of at most `maximum` if there is one."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}: {value!r} came, an integer of at least {minimum} is needed")
    if maximum is not None and int(value) > maximum:
        raise ValueError(f"{name}: {value!r} came, at most {maximum} is allowed")


def check_nonnegative(name: str, value: object) -> None:
    """A finite real number, zero or more."""
    if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{name}: {value!r} came, a finite number of at least 0 is needed")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """One of the given names; the message suggests the nearest one."""
    choices = tuple(choices)
    if value in choices:
        return
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"{name}: {value!r} came, one of {', '.join(choices)} is allowed{hint}")


def check_float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """float64 or float32."""
    try:
        resolved = np.dtype(dtype)
    except TypeError:
        resolved = np.dtype(object)
    if resolved not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise ValueError(f"dtype: {dtype!r} came, float64 or float32 is allowed")
    return resolved
