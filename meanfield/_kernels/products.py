"""Matrix products by SciPy's BLAS, on parts of arrays and into parts of arrays; ``np.dot`` would copy them.

The caller must limit BLAS to one thread.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba.extending import get_cython_function_address, intrinsic

from .jit import COMPILED, part

_PLAIN, _TRANSPOSED = ord("N"), ord("T")


@functools.cache
def product(real: Any) -> Any:
    """Argument of ``multiply`` for one precision."""
    name = "dgemm" if real is np.float64 else "sgemm"
    return get_cython_function_address("scipy.linalg.cython_blas", name) if COMPILED else 0


@intrinsic
def _call_gemm(typing_context, gemm, transposed, sizes, pointers, strides, beta):
    """Call gemm at an address; all arguments are integers but beta, which has the precision, in the order of Fortran's."""

    def generate(context, builder, signature, arguments):
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import cgutils

        address, transposed, sizes, pointers, strides, beta = arguments
        byte, integer, pointer = ir.IntType(8), ir.IntType(32), ir.IntType(8).as_pointer()

        def reference(value):
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        def items(array, kind):
            values = cgutils.unpack_tuple(builder, array)
            return [reference(builder.trunc(value, kind)) for value in values]

        flags, shape, leading = (
            items(transposed, byte),
            items(sizes, integer),
            items(strides, integer),
        )
        a, b, c = (builder.inttoptr(p, pointer) for p in cgutils.unpack_tuple(builder, pointers))
        one = reference(ir.Constant(beta.type, 1.0))
        function = ir.FunctionType(ir.VoidType(), [pointer] * 13).as_pointer()
        builder.call(
            builder.inttoptr(address, function),
            [*flags, *shape, one, a, leading[0], b, leading[1], reference(beta), c, leading[2]],
        )
        return context.get_dummy_value()

    return numba.types.none(gemm, transposed, sizes, pointers, strides, beta), generate


_gemm: Any = _call_gemm


@part
def _layout(array):
    """Whether the array is the transpose of one with contiguous rows, and the distance of those in entries."""
    if array.strides[1] == array.itemsize:
        return _PLAIN, max(array.strides[0] // array.itemsize, array.shape[1])
    return _TRANSPOSED, max(array.strides[1] // array.itemsize, array.shape[0])


def _multiply_compiled(gemm, left, right, out, beta):
    # Fortran sees the transposes, outᵀ = rightᵀ leftᵀ.
    (t_right, s_right), (t_left, s_left), (_, s_out) = _layout(right), _layout(left), _layout(out)
    sizes = (out.shape[1], out.shape[0], left.shape[1])
    pointers = (right.ctypes.data, left.ctypes.data, out.ctypes.data)
    _gemm(gemm, (t_right, t_left), sizes, pointers, (s_right, s_left, s_out), beta)


def _multiply_plainly(gemm, left, right, out, beta):
    out[:] = left @ right + (beta * out if beta else 0)


#: (product, left, right, out, beta): out = left @ right + beta · out, beta being 0 or 1 in the precision of the arrays, whose
#: rows, or columns in the case of left and right, are contiguous.
multiply = part(_multiply_compiled if COMPILED else _multiply_plainly)
