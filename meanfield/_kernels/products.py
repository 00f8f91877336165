"""Matrix products by SciPy's BLAS, on parts of arrays and into parts of arrays; ``np.dot`` would copy them.

The caller must limit BLAS to one thread. Matrices are given by the addresses and distances of their entries, so that this is
compiled once for all of them and both precisions.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from solvers._support import scipy_blas
from solvers._support.threads import blas_libraries

from .jit import COMPILED, array_at, part

_PLAIN, _TRANSPOSED = ord("N"), ord("T")


@functools.cache
def product(real: Any) -> Any:
    """Argument of ``multiply`` for one precision."""
    if not COMPILED:
        return int(real is np.float64)
    name = "dgemm" if real is np.float64 else "sgemm"
    return scipy_blas.address(name)


@functools.cache
def most_small() -> int:
    """Multiply-adds of the largest product that BLAS takes without copying its operands, which is faster; 0 if it always does.

    OpenBLAS has such products for processors with AVX-512.
    """
    kinds = {getattr(library, "architecture", None) for library in blas_libraries()}
    return 1_000_000 if kinds & {"SkylakeX", "Cooperlake", "SapphireRapids"} else 0


@intrinsic
def _call_gemm(typing_context, gemm, flags, sizes, strides, pointers):
    """Call gemm at an address; all arguments are integers in the order of Fortran's, pointers being to α, A, B, β, C."""

    def generate(context, builder, signature, arguments):
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import cgutils

        byte, integer, pointer = ir.IntType(8), ir.IntType(32), ir.IntType(8).as_pointer()

        def references(array, kind):
            values = cgutils.unpack_tuple(builder, array)
            places = [
                cgutils.alloca_once_value(builder, builder.trunc(value, kind)) for value in values
            ]
            return [builder.bitcast(place, pointer) for place in places]

        address, flags, sizes, strides, pointers = arguments
        alpha, a, b, beta, c = (
            builder.inttoptr(p, pointer) for p in cgutils.unpack_tuple(builder, pointers)
        )
        of_a, of_b, of_c = references(strides, integer)
        function = ir.FunctionType(ir.VoidType(), [pointer] * 13).as_pointer()
        builder.call(
            builder.inttoptr(address, function),
            [*references(flags, byte), *references(sizes, integer), alpha, a, of_a, b, of_b, beta, c, of_c],
        )  # fmt: skip
        return context.get_dummy_value()

    return numba.types.none(gemm, flags, sizes, strides, pointers), generate


_gemm: Any = _call_gemm


@part
def _layout(matrix, rows, columns):
    """Whether a matrix (address, distance of rows, of columns) is the transpose of one with contiguous rows; their distance."""
    _, down, across = matrix
    if across == 1:
        return _PLAIN, max(down, columns)
    return _TRANSPOSED, max(across, rows)


def _multiply_compiled(gemm, sizes, left, right, out, beta, one):
    # Fortran sees the transposes, outᵀ = rightᵀ leftᵀ.
    rows, inner, columns = sizes
    t_right, s_right = _layout(right, inner, columns)
    t_left, s_left = _layout(left, rows, inner)
    _gemm(
        gemm, (t_right, t_left), (columns, rows, inner), (s_right, s_left, max(out[1], columns)),
        (one, right[0], left[0], beta, out[0]),
    )  # fmt: skip


def _multiply_plainly(gemm, sizes, left, right, out, beta, one):
    rows, inner, columns = sizes
    real = np.float64 if gemm else np.float32

    def matrix(place, rows, columns):
        address, down, across = place
        reach = (rows - 1) * down + (columns - 1) * across + 1
        strides = tuple(np.dtype(real).itemsize * step for step in (down, across))
        entries = array_at(address, (reach,), real)
        return np.lib.stride_tricks.as_strided(entries, (rows, columns), strides)

    into = matrix((*out, 1), rows, columns)
    before = into.copy() if array_at(beta, (1,), real)[0] else 0
    into[:] = matrix(left, rows, inner) @ matrix(right, inner, columns) + before


#: (product, (rows, inner, columns), left, right, out, beta, one): out = left @ right + beta · out. Left and right are (address,
#: distance of rows, distance of columns) in entries, one of which is 1; out is (address, distance of rows); beta and one are
#: addresses of 0 or 1, and of 1, in the precision of all.
multiply = part(_multiply_compiled if COMPILED else _multiply_plainly)
