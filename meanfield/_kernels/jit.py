"""Compilation settings of this package.

``error_model="numpy"`` keeps loops vectorisable (no branch on division by zero). The fast-math flags leave out everything
that could change a NaN or an infinity, and ``reassoc``, so that sums are taken in the order written.

Code for one precision or one activation is compiled when it is first needed and cached on disk, see `cache`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from solvers._kernels.cache import Cache

Function = Callable[..., Any]

carray: Any = getattr(numba, "carray")  # noqa: B009  (not among the names numba says it exports)

COMPILED = not getattr(numba.config, "DISABLE_JIT")  # noqa: B009  (its attributes are made at run time)
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz"}}


def inlined(function: Function) -> Any:
    """Decorator for scalar code that LLVM inlines into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def part(function: Function) -> Any:
    """Decorator for a piece of a driver, compiled with it."""
    return numba.njit(**_OPTIONS)(function)


def driver(name: str) -> Callable[[Function], Any]:
    """Decorator for functions called from Python: they release the interpreter's lock and are cached on disk under this name."""

    def decorate(function: Function) -> Any:
        compiled = numba.njit(nogil=True, **_OPTIONS)(named(name)(function))
        if COMPILED:
            compiled._cache = Cache(function, name)
        return compiled

    return decorate


def callback(name: str, signature: Any) -> Callable[[Function], int]:
    """Decorator that returns the address of the compiled function, for ``call_address``; cached on disk under this name."""

    def decorate(function: Function) -> int:
        options = {"nopython": True, **_OPTIONS}
        compiled: Any = CFunc(
            named(name)(function), (signature.args, signature.return_type), {}, options
        )
        compiled._cache = Cache(function, name)
        compiled.compile()
        _ALIVE.append(compiled)
        return int(compiled.address)

    return decorate


_ALIVE: list[Any] = []  # keeps references, as the code of a callback is freed with its object


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
def _call_address(typing_context, address, data, stride, size):
    """Call the function void(void *data, intp stride, intp size) at an address; all arguments are integers."""

    def generate(context, builder, signature, arguments):
        from llvmlite import ir  # type: ignore[import-untyped]

        integer, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        function = ir.FunctionType(ir.VoidType(), [pointer, integer, integer]).as_pointer()
        callee = builder.inttoptr(arguments[0], function)
        builder.call(callee, [builder.inttoptr(arguments[1], pointer), *arguments[2:]])
        return context.get_dummy_value()

    integer = numba.types.intp
    return numba.types.none(integer, integer, integer, integer), generate


call_address: Any = _call_address
