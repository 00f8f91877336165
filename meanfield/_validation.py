"""Checks of arguments: those that both packages have, and of paths."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from meanfield._arguments import (
    array,
    choice,
    count,
    finite_array,
    flag,
    float_dtype,
    function,
    instance,
    probabilities,
    real,
    refusal,
    settle,
    shown,
)
from meanfield._memory import fitting

__all__ = [
    "array",
    "check_choice",
    "check_count",
    "check_float_dtype",
    "choice",
    "count",
    "finite_array",
    "fitting",
    "flag",
    "float_dtype",
    "function",
    "instance",
    "probabilities",
    "real",
    "refusal",
    "settle",
    "shown",
    "the_path",
]

check_choice, check_count = choice, count


def check_float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """float64 or float32."""
    return float_dtype("dtype", dtype)


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
