"""Compilation settings of this package.

``error_model="numpy"`` keeps loops vectorisable (no branch on division by zero). The fast-math flags leave out everything
that could change a NaN or an infinity, and ``reassoc``, so that sums are taken in the order written.

Code for one precision or one activation is compiled when it is first needed and cached on disk, see `cache`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from solvers._kernels.cache import Cache

Function = Callable[..., Any]

COMPILED = not getattr(numba.config, "DISABLE_JIT")  # noqa: B009  (its attributes are made at run time)
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz"}}
# Entries that nothing calls took a third of the time of compilation: from C, and from Python to what compiled code calls.
_DRIVER: dict[str, Any] = {**_OPTIONS, "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_DRIVER, "no_cpython_wrapper": True}


def inlined(function: Function) -> Any:
    """Decorator for scalar code that LLVM inlines into its callers; Python must not call it either."""
    return numba.njit(forceinline=True, **_INNER)(function)


def part(function: Function) -> Any:
    """Decorator for a piece of a driver, compiled with it; Python must not call it, as it would find no code."""
    return numba.njit(**_INNER)(function)


def driver(name: str) -> Callable[[Function], Any]:
    """Decorator for functions called from Python: they release the interpreter's lock and are cached on disk under this name."""

    def decorate(function: Function) -> Any:
        compiled = numba.njit(nogil=True, **_DRIVER)(named(name)(function))
        if COMPILED:
            compiled._cache = Cache(function, name)
        return compiled

    return decorate


def callback(name: str, count: int) -> Callable[[Function], int]:
    """Decorator for a function of `count` integers, which is cached on disk under this name; it returns what ``call_at`` takes.

    What many callers share is compiled once this way, whereas each function that calls a `part` compiles it again with itself.
    """

    def decorate(function: Function) -> int:
        if not COMPILED:
            _ALIVE.append(function)
            return len(_ALIVE) - 1
        options = {"nopython": True, **_OPTIONS}
        arguments = (numba.types.intp,) * count
        compiled: Any = CFunc(named(name)(function), (arguments, numba.types.void), {}, options)
        compiled._cache = Cache(function, name)
        compiled.compile()
        _ALIVE.append(compiled)
        return int(compiled.address)

    return decorate


_ALIVE: list[Any] = []  # the code of a callback is freed with its object


def named(name: str) -> Callable[[Function], Function]:
    """Decorator that renames a function with a closure.

    The name must describe the closure: compiled functions are distinguished, on disk and in a process, by names and argument
    types, together with a number that counts from one in every process.
    """

    def rename(function: Function) -> Function:
        function.__qualname__ = function.__name__ = name
        return function

    return rename


@intrinsic
def _wide_vectors(typing_context):
    """Ask LLVM for 512-bit vectors in the function that calls this; by itself it takes 256 on processors that have them.

    Also align the stack to a cache line, as otherwise spilled vectors would be loaded from two lines, and do not inline that
    function into its callers, whose compilation would take several times as long.
    """

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        # llvmlite's own `add` knows only attributes without a value.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        set.add(builder.function.attributes, "alignstack(64)")
        return context.get_dummy_value()

    return numba.types.none(), generate


def _nothing() -> None:
    return None


wide_vectors: Any = _wide_vectors if COMPILED else _nothing


@intrinsic
def _call_compiled(typing_context, address, arguments):
    def generate(context, builder, signature, values):
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import cgutils

        integers = cgutils.unpack_tuple(builder, values[1])
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(integers)).as_pointer()
        builder.call(builder.inttoptr(values[0], kind), integers)
        return context.get_dummy_value()

    return numba.types.none(address, arguments), generate


def _call_plainly(which: int, arguments: tuple[int, ...]) -> None:
    _ALIVE[which](*arguments)


#: (callback, a tuple of integers): call it.
call_at: Any = _call_compiled if COMPILED else _call_plainly


@intrinsic
def _array_compiled(typing_context, address, shape, kind):
    """As `numba.carray`, for which code loaded from disk would import the module that compiles operations on arrays."""

    def generate(context, builder, signature, values):
        from llvmlite import ir
        from numba.np.arrayobj import np_cfarray

        pointer = builder.inttoptr(values[0], ir.IntType(8).as_pointer())
        at = signature.return_type(numba.types.voidptr, shape)
        return np_cfarray(context, builder, at, (pointer, values[1]))

    array = numba.types.Array(kind.dtype, len(shape), "C")
    return array(address, shape, kind), generate


def _array_plainly(address: int, shape: tuple[int, ...], kind: Any) -> Any:
    count = math.prod(shape)
    if count == 0:
        return np.empty(shape, kind)
    memory = (ctypes.c_char * (count * np.dtype(kind).itemsize)).from_address(int(address))
    return np.frombuffer(memory, kind).reshape(shape)


#: (address, shape, type of the entries) → the array with contiguous rows that is there.
array_at: Any = _array_compiled if COMPILED else _array_plainly


@intrinsic
def _bits_compiled(typing_context, kind, x):
    """As the method `view` of numbers, which would be compiled for each type."""
    same = getattr(
        numba.types,
        ("int" if kind.dtype in numba.types.real_domain else "float") + str(kind.dtype.bitwidth),
    )

    def generate(context, builder, signature, values):
        return builder.bitcast(values[1], context.get_value_type(signature.return_type))

    return kind.dtype(kind, same), generate


def _bits_plainly(kind: Any, x: Any) -> Any:
    size = np.dtype(kind).itemsize
    return np.dtype(f"i{size}" if np.dtype(kind).kind == "f" else f"f{size}").type(x).view(kind)


#: (type, x) → the number of this type with the bits of x, one of the other kind, integer or real, of as many bits.
bits_as: Any = _bits_compiled if COMPILED else _bits_plainly
