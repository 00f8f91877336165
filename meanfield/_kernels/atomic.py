"""Counters, arrays (1,) of int64, that several threads may read and increment concurrently."""

from __future__ import annotations

from typing import Any

import numba
from numba.extending import intrinsic

from .jit import COMPILED, driver, part

_INTEGER = numba.types.intp


@intrinsic
def _increment_at(typing_context, address):
    """Add one to the integer at an address, and return its previous value."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw(
            "add", _pointer(builder, *arguments), arguments[0].type(1), "acq_rel"
        )

    return _INTEGER(address), generate


@intrinsic
def _load_from(typing_context, address):
    """The current integer at an address."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_pointer(builder, *arguments), "acquire", 8)

    return _INTEGER(address), generate


_increment: Any = _increment_at
_load: Any = _load_from


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, address.type.as_pointer())


def _take_compiled(counter):
    return _increment(counter.ctypes.data)


def _take_plainly(counter):
    counter[0] += 1
    return counter[0] - 1


#: counter → its value before the increment: no two threads get the same.
take = part(_take_compiled if COMPILED else _take_plainly)


@driver("wait_for_change")
def wait_for_change(counter, seen, tries):
    """Return as soon as the counter differs from `seen`, or after `tries` tries, of about a nanosecond each."""
    while tries > 0 and _load(counter.ctypes.data) == seen:
        tries -= 1
