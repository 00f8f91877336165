"""Blocks of particles for many inputs: matrix products by BLAS, on tiles of rows of particles and columns of data.

BLAS copies its operands, so that its rate depends on the tile. At 100 inputs it was a fifth lower with 64 rows than with 128, and
more than 256 columns gained nothing. Where it does not copy those of small products (`products.most_small`), both of which must
have contiguous rows, tiles of at least 64 columns within that size took 15 to 30% less time, most with few rows. At 3000
inputs, 250 rows and 500 columns gave 50 to 60 GFLOP/s, as whole matrices do, where 125 rows and 256 columns gave 30 to 45.

With many inputs and enough memory, z and ż of the forward pass are kept for the backward pass, which then takes two thirds
of the products: `kept` (order + 1, rows, n) has a row for each particle of the block, or none, and then they are recomputed
by the same products on the same tiles. In place of z it has σ(z) where derivatives follow from that. Hessian products at one
point share it: with `known`, kept[0] is there already. The numbers are the same.

Blocks only compute addresses and call others, so that one of each serves both precisions.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic

from .chain import chain_backward, chain_forward
from .jit import COMPILED, call_at, callback, part
from .job import read_job
from .products import multiply, product

__all__ = [
    "MANY_INPUTS",
    "MOST_ROWS",
    "ROWS",
    "chain",
    "entries",
    "gradient_block",
    "network_block",
    "product",
]

MANY_INPUTS = 256
ROWS, _COLUMNS = 128, 256
_LEAST_SMALL, _MOST_SMALL, _UNIT = 64, 128, 16  # columns of small products, a multiple of a vector
MOST_ROWS, _MOST_COLUMNS = 256, 512
_TILES = 4  # of a block backward, beside two for each derivative: σ, σ', ż, s


def tile_size(n_particles, n, p, most_small):
    """Particles and data of a tile; it must not depend on which share of the data this is."""
    if p >= MANY_INPUTS:
        return min(MOST_ROWS, n_particles), min(_MOST_COLUMNS, n)
    rows = min(ROWS, n_particles)
    columns = most_small // (rows * p) // _UNIT * _UNIT
    if columns < _LEAST_SMALL:
        return rows, min(_COLUMNS, n)
    return rows, min(columns, _MOST_SMALL, n)


_tile_size = part(tile_size)


def entries(order: int, n_particles: int, n: int, p: int, c: int) -> int:
    """Entries of the memory that blocks of at most so many particles work with."""
    many = p >= MANY_INPUTS
    rows, columns = (MOST_ROWS, _MOST_COLUMNS) if many else (ROWS, _COLUMNS)
    return (2 * order + _TILES) * min(rows, n_particles) * min(columns, n)


def chain(real: Any, order: int, backward: bool) -> Any:
    """The rule of a pass; none is needed forward without derivatives."""
    if backward:
        return chain_backward(real, order)
    return chain_forward(real, order) if order else 0


@intrinsic
def _copy_compiled(typing_context, source, out, count):
    """Copy bytes; all arguments are integers."""

    def generate(context, builder, signature, arguments):
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import cgutils

        pointer = ir.IntType(8).as_pointer()
        source, out = (builder.inttoptr(address, pointer) for address in arguments[:2])
        cgutils.raw_memcpy(builder, out, source, arguments[2], 1)
        return context.get_dummy_value()

    return numba.types.none(source, out, count), generate


def _copy_plainly(source: int, out: int, count: int) -> None:
    ctypes.memmove(int(out), int(source), int(count))


_copy: Any = _copy_compiled if COMPILED else _copy_plainly


@part
def load_jets(job, known, weights, i, k, rows, columns, tile):
    """σ and its derivatives at the pre-activations z of particles i, … and data k, …."""
    place, count = job.kept + (i * job.kept_length + k) * job.itemsize, rows * columns
    is_kept = i + rows <= job.kept_rows
    if known != 0 and is_kept:
        take(job, place, rows, columns, tile)
        if job.loop_of_kept != 0:
            call_at(job.loop_of_kept, (tile, count, count))
        return
    weigh(job, weights, k, rows, columns, tile)
    if is_kept and job.keeps_values == 0:
        keep(job, tile, rows, columns, place)
    call_at(job.loop, (tile, count, count))
    if is_kept and job.keeps_values != 0:
        keep(job, tile, rows, columns, place)


@part
def load_dotted(job, known, weights, i, k, rows, columns, out):
    """ż of the same, for weights ẇ."""
    place = job.kept + ((job.kept_rows + i) * job.kept_length + k) * job.itemsize
    is_kept = i + rows <= job.kept_rows
    if known != 0 and is_kept:
        take(job, place, rows, columns, out)
        return
    weigh(job, weights, k, rows, columns, out)
    if is_kept:
        keep(job, out, rows, columns, place)


@part
def weigh(job, weights, k, rows, columns, out):
    """out = weights @ inputs.T, for data k, …."""
    p, one = job.inputs_count, np.intp(1)  # of 1 itself numba would make a type
    x = job.columns + k * job.columns_across * job.itemsize
    multiply(
        job.product, (rows, p, columns), (weights, job.outputs + p, one),
        (x, job.columns_down, job.columns_across), (out, columns), job.constants, job.constants + job.itemsize,
    )  # fmt: skip


@part
def keep(job, tile, rows, columns, place):
    length, width = job.kept_length * job.itemsize, columns * job.itemsize
    for q in range(rows):
        _copy(tile + q * width, place + q * length, width)


@part
def take(job, place, rows, columns, tile):
    length, width = job.kept_length * job.itemsize, columns * job.itemsize
    for q in range(rows):
        _copy(place + q * length, tile + q * width, width)


@part
def add_outputs(job, tile, weights, rows, columns, out):
    """out += tile.T @ weights, for the output weights of the particles of a tile, or their derivatives."""
    c, one, beta = job.outputs, np.intp(1), job.constants + job.itemsize
    multiply(
        job.product, (columns, rows, c), (tile, one, columns), (weights, c + job.inputs_count, one),
        (out, c), beta, beta,
    )  # fmt: skip


@part
def add_slopes(job, weights, r, rows, columns, out, beta):
    """out = weights @ r.T + beta · out, likewise."""
    c, one = job.outputs, np.intp(1)
    multiply(
        job.product, (rows, c, columns), (weights, c + job.inputs_count, one), (r, one, c),
        (out, columns), beta, job.constants + job.itemsize,
    )  # fmt: skip


@part
def add_gradient(job, factors, terms, count, rows, columns, out, beta):
    """out = factors @ terms + beta · out, for the data of a tile, in `count` coordinates of its particles."""
    one = np.intp(1)
    multiply(
        job.product, (rows, columns, count), (factors, columns, one), (terms, count, one),
        (out, job.outputs + job.inputs_count), beta, job.constants + job.itemsize,
    )  # fmt: skip


@functools.cache
def network_block(real: Any = None) -> Any:
    """Σ_i a_i σ(w_i·x) over the particles of a block, and its derivatives along the direction, added to the b-th of out."""
    if real is not None:
        return network_block()  # of both precisions

    @callback("network_wide", 5)
    def block(address, b, begin, end, work):
        job = read_job(address)
        size, order, c, n, p = job.itemsize, job.order, job.outputs, job.data, job.inputs_count
        most, wide = _tile_size(end - begin, n, p, job.most_small)
        fresh, derivative = np.intp(0), n * c * size
        for i in range(begin, end, most):
            rows = min(most, end - i)
            a, da = job.particles + i * (c + p) * size, job.direction + i * (c + p) * size
            for k in range(0, n, wide):
                columns = min(wide, n - k)
                tile = rows * columns * size
                first, second, dz = work, work + tile, work + (order + 1) * tile
                f = job.out + b * (order + 1) * derivative + k * c * size
                load_jets(job, job.known, a + c * size, i, k, rows, columns, first)
                if order > 0:
                    load_dotted(job, fresh, da + c * size, i, k, rows, columns, dz)
                    call_at(job.chain, (work, dz, rows * columns, rows * columns))
                add_outputs(job, first, a, rows, columns, f)
                if order > 0:
                    add_outputs(job, first, da, rows, columns, f + derivative)
                    add_outputs(job, second, a, rows, columns, f + derivative)
                if order > 1:
                    f += 2 * derivative
                    add_outputs(job, second, da, rows, columns, f)
                    add_outputs(job, second, da, rows, columns, f)
                    add_outputs(job, second + tile, a, rows, columns, f)

    return block


@functools.cache
def gradient_block(real: Any = None) -> Any:
    """The m-th derivative of Σ_k r_k·∇_θ[a σ(w·x_k)] for the particles of a block, m = order, into their rows of out."""
    if real is not None:
        return gradient_block()

    @callback("gradient_wide", 5)
    def block(address, b, begin, end, work):
        job = read_job(address)
        size, order, c, n, p = job.itemsize, job.order, job.outputs, job.data, job.inputs_count
        most, wide = _tile_size(end - begin, n, p, job.most_small)
        nothing, one = job.constants, job.constants + size
        known, derivative = np.intp(1), n * c * size
        for i in range(begin, end, most):
            rows = min(most, end - i)
            offset = i * (c + p) * size
            a, da, gradient = job.particles + offset, job.direction + offset, job.out + offset
            for k in range(0, n, wide):
                columns = min(wide, n - k)
                tile = rows * columns * size
                dz = work + (order + 2) * tile
                s = dz + tile
                x, r = job.inputs + k * p * size, job.residuals + k * c * size
                load_jets(job, known, a + c * size, i, k, rows, columns, work)
                add_slopes(job, a, r, rows, columns, s, nothing)
                if order > 0:
                    load_dotted(job, known, da + c * size, i, k, rows, columns, dz)
                    add_slopes(job, a, r + derivative, rows, columns, s + tile, nothing)
                    add_slopes(job, da, r, rows, columns, s + tile, one)
                if order > 1:
                    last = s + 2 * tile
                    add_slopes(job, a, r + 2 * derivative, rows, columns, last, nothing)
                    add_slopes(job, da, r + derivative, rows, columns, last, one)
                    add_slopes(job, da, r + derivative, rows, columns, last, one)
                call_at(job.chain, (work, dz, s, rows * columns, rows * columns))
                beta = one if k > 0 else nothing
                for q in range(order + 1):
                    factors, terms = work + q * tile, r + (order - q) * derivative
                    add_gradient(job, factors, terms, c, rows, columns, gradient, beta)
                    beta = one
                beta = one if k > 0 else nothing
                add_gradient(job, s, x, p, rows, columns, gradient + c * size, beta)

    return block
