"""Checks of arguments.

Each returns the argument in the form that the code uses, numbers as Python's own whatever their precision, or raises a ValueError
that names the argument, the condition and the value.
"""

from __future__ import annotations

import difflib
import errno
import math
import operator
import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_FLOAT64 = np.dtype(np.float64)
_LONGEST = 100  # characters of a value that a message shows

# What NumPy and the array types of other libraries raise for objects that are not arrays of numbers.
_NO_ARRAY = (TypeError, ValueError, OverflowError, RuntimeError, AttributeError)


def refusal(name: str, condition: str, value: object, remedy: str = "") -> ValueError:
    """``<name> must be <condition>, got <value>``, then the remedy."""
    more = f"; {remedy}" if remedy else ""
    return ValueError(f"{name} must be {condition}, got {shown(value)}{more}")


def wrong_shape(name: str, needed: object, shape: tuple[int, ...], remedy: str = "") -> ValueError:
    """``<name> must have shape <needed>, got <shape>``, then the remedy."""
    more = f"; {remedy}" if remedy else ""
    return ValueError(f"{name} must have shape {needed}, got {shape}{more}")


def shown(value: object) -> str:
    """A value in a message: arrays by dtype and shape, other objects by the first characters of their repr."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.dtype} {value.shape}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a failing repr must not hide the actual error
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def real(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """A finite real number within bounds, as a float; arrays without axes are numbers."""
    try:
        number = value if type(value) is float else float(_scalar(value))
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    fits = (
        math.isfinite(number)
        and (above is None or number > above)
        and (least is None or number >= least)
        and (below is None or number < below)
        and (most is None or number <= most)
    )
    if fits:
        return number
    bounds = {"above": above, "of at least": least, "below": below, "of at most": most}
    conditions = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    raise refusal(name, " ".join(["a finite number", " and ".join(conditions)]).strip(), value)


def count(name: str, value: object, least: int | None = 1, most: int | None = None) -> int:
    """An integer within bounds, as an int; arrays without axes are numbers."""
    scalar = _scalar(value)
    if isinstance(scalar, Integral):
        number = operator.index(scalar)
        if (least is None or number >= least) and (most is None or number <= most):
            return number
    bounds = {"of at least": least, "of at most": most}
    conditions = [f"{word} {bound}" for word, bound in bounds.items() if bound is not None]
    if len(conditions) == 2:
        conditions = [f"from {least} to {most}"]
    raise refusal(name, " ".join(["an integer", *conditions]), value)


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise refusal(name, "True or False", value)
    return bool(value)


def choice(name: str, value: object, choices: Iterable[str]) -> str:
    """One of the given names; the message suggests the nearest one."""
    choices = tuple(choices)
    if isinstance(value, str):
        if value in choices:
            return value
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else ""
    else:
        hint = ""
    names = ", ".join(map(repr, choices))
    raise refusal(name, names if len(choices) == 1 else f"one of {names}", value, hint)


def instance(name: str, value: object, kind: type, remedy: str = "") -> Any:
    """An object of a class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise refusal(name, f"{article} {kind.__name__}", value, remedy)
    return value


def function(name: str, value: object) -> Any:
    """Something that can be called."""
    if not callable(value):
        raise refusal(name, "a function", value)
    return value


def methods(name: str, value: object, names: Iterable[str], needed_by: str) -> Any:
    """An instance (not a class) that has these methods."""
    if isinstance(value, type):
        raise refusal(name, "an object", value, f"call the class: {value.__name__}(…)")
    for method in names:
        if not callable(getattr(value, method, None)):
            raise ValueError(
                f"{name} must be an object with a method {method}, which {needed_by} needs, got {shown(value)}"
            )
    return value


def array(name: str, value: object) -> NDArray[np.floating[Any]]:
    """Real numbers as an array: float32 is kept, other types become float64. It may be the caller's own array."""
    if type(value) is np.ndarray and value.dtype is _FLOAT64:
        return value
    if callable(value) and not hasattr(value, "__array__"):
        called = getattr(value, "__name__", type(value).__name__)
        raise refusal(name, "an array", value, f"call it: {called}()")
    try:
        found = np.asarray(value)
    except _NO_ARRAY:
        raise refusal(name, "an array of real numbers", value) from None
    if found.dtype == object and found.ndim == 0:  # one object, no numbers
        raise refusal(name, "an array of real numbers", value)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of real numbers, got dtype {found.dtype}")
    if isinstance(value, np.ma.MaskedArray) and (masked := np.count_nonzero(value.mask)):
        raise ValueError(f"{name} must be an array of real numbers, got {masked} masked entries")
    if found.dtype in (np.float64, np.float32):
        return found
    with np.errstate(
        over="ignore"
    ):  # of a wider type: infinite, which is for those to refuse who mind
        return found.astype(np.float64)


def finite_array(name: str, value: object) -> NDArray[np.floating[Any]]:
    """Real numbers as an array of at least one entry, all of them finite."""
    found = array(name, value)
    if found.size == 0:
        raise ValueError(f"{name} must be an array of at least one entry, got shape {found.shape}")
    finite = np.isfinite(found)
    if not finite.all():
        raise ValueError(
            f"{name} must be finite, got {found.size - np.count_nonzero(finite)} non-finite entries of {found.size}"
        )
    return found


def probabilities(
    name: str, value: object, shape: tuple[int, ...], rounding: float = 1e-9
) -> NDArray[np.float64]:
    """Nonnegative weights that sum to one, rescaled in float64; equal weights for None.

    The sum may differ from 1 by `rounding`, or by what the precision of the weights explains: 1e-6 for float32.
    """
    if value is None:
        return np.full(shape, 1.0 / math.prod(shape))
    weights: NDArray[np.float64] = finite_array(name, value).astype(np.float64)
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind == "f":
        rounding = max(rounding, 8.0 * float(np.finfo(dtype).eps))
    if weights.shape != shape:
        raise wrong_shape(name, shape, weights.shape)
    with np.errstate(over="ignore"):
        least, total = float(weights.min()), float(weights.sum())
    if least < 0 or not abs(total - 1.0) <= rounding:
        raise ValueError(
            f"{name} must be at least 0 and sum to 1, got a minimum of {least!r} and a sum of {total!r}"
        )
    return weights / total


def float_dtype(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    """float64 or float32."""
    try:
        resolved = np.dtype(dtype)
    except Exception:  # NumPy raises various exceptions for invalid dtypes
        resolved = np.dtype(object)
    if dtype is None or resolved not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise refusal(name, "float64 or float32", dtype)
    return resolved


def settle(instance: object, **values: object) -> None:
    """Set fields of a frozen dataclass to their checked values."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def _scalar(value: object) -> Any:
    """A real number, possibly in an array without axes; None for anything else, booleans included."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return None
    if isinstance(value, Real):
        return value
    try:
        found = np.asarray(value)
    except _NO_ARRAY:
        return None
    return found[()] if found.shape == () and found.dtype.kind in "iuf" else None


def the_path(name: str, value: object) -> Path:
    """A path of the file system."""
    if not isinstance(value, str | os.PathLike) or "\0" in os.fspath(value):
        raise refusal(name, "a path", value)
    path = Path(value)
    try:
        path.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise refusal(name, "a path", value, "it is too long") from None
    return path
