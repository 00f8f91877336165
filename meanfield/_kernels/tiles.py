"""Blocks of particles for few inputs: tiles that fit the L1 cache, products in groups of four in registers.

Every inner loop runs along a row, so LLVM makes vectors of it and no sum is taken across a vector: sums are taken in the order
written. Forward, a row holds data, one particle to a row; backward, it holds particles, one datum to a row. Rows are
as long as a whole number of vectors and in groups of four, padded with zeros; `inputs` (n, p) and `r` (m + 1, n, c)
are padded in the same way in n and p, to the length of a whole number of tiles backward.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .chain import chain_backward, chain_forward
from .jit import array_at, call_at, callback, inlined, named, part, wide_vectors
from .job import read_job

FEW_INPUTS = 16
_FORWARD_ROWS, _BACKWARD_ROWS = 8, 32
_FORWARD_BYTES, _BACKWARD_BYTES = 2048, 512  # of a row, at most
_ROW_UNIT = 128  # bytes: two vectors, as LLVM unrolls loops by two


def _width(n, most_bytes, size):
    """Entries of a row, of which n fill equal rows with little left over."""
    unit, most = _ROW_UNIT // size, most_bytes // size
    shares = -(-n // most)
    return -(-n // (shares * unit)) * unit


row_width = part(_width)


def entries(order: int, n_particles: int, n: int, p: int, c: int) -> int:
    """Entries, of any precision, of the memory that a block works with."""
    size = 4  # bytes: the longest rows
    p += 3  # padded
    forward = (p + (order + 1) * c + (order + 2) * _FORWARD_ROWS) * (_FORWARD_BYTES // size)
    backward = (3 * p + 4 * c + (2 * order + 4) * _BACKWARD_ROWS) * (_BACKWARD_BYTES // size)
    return int(max(forward + 3 * _FORWARD_ROWS * (p + c), backward))


def chain(real: Any, order: int, backward: bool) -> Any:
    """The rule of a pass; none is needed forward without derivatives."""
    if backward:
        return chain_backward(real, order)
    return chain_forward(real, order) if order else 0


@functools.cache
def _entry(real: Any) -> Any:
    """Address → the number there."""

    @inlined
    @named(f"entry_{real.__name__}")
    def entry(address):
        return array_at(address, (1,), real)[0]

    return entry


@functools.cache
def _fours(real: Any) -> Any:
    entry = _entry(real)

    @part
    @named(f"fours_{real.__name__}")
    def fours(left, down, across, right, out, fresh, rows, inner):
        """The first rows and the first inner terms, both in groups of four."""
        wide_vectors()
        for i in range(0, rows, 4):
            c = out[i : i + 4]
            for j in range(0, inner, 4):
                b = right[j : j + 4]
                p0 = left + i * down + j * across
                p1, p2, p3 = p0 + down, p0 + 2 * down, p0 + 3 * down
                s1, s2, s3 = across, 2 * across, 3 * across
                a00, a01, a02, a03 = entry(p0), entry(p0 + s1), entry(p0 + s2), entry(p0 + s3)
                a10, a11, a12, a13 = entry(p1), entry(p1 + s1), entry(p1 + s2), entry(p1 + s3)
                a20, a21, a22, a23 = entry(p2), entry(p2 + s1), entry(p2 + s2), entry(p2 + s3)
                a30, a31, a32, a33 = entry(p3), entry(p3 + s1), entry(p3 + s2), entry(p3 + s3)
                if fresh and j == 0:
                    for k in range(out.shape[1]):
                        b0, b1, b2, b3 = b[0, k], b[1, k], b[2, k], b[3, k]
                        c[0, k] = a00 * b0 + a01 * b1 + a02 * b2 + a03 * b3
                        c[1, k] = a10 * b0 + a11 * b1 + a12 * b2 + a13 * b3
                        c[2, k] = a20 * b0 + a21 * b1 + a22 * b2 + a23 * b3
                        c[3, k] = a30 * b0 + a31 * b1 + a32 * b2 + a33 * b3
                else:
                    for k in range(out.shape[1]):
                        b0, b1, b2, b3 = b[0, k], b[1, k], b[2, k], b[3, k]
                        c[0, k] += a00 * b0 + a01 * b1 + a02 * b2 + a03 * b3
                        c[1, k] += a10 * b0 + a11 * b1 + a12 * b2 + a13 * b3
                        c[2, k] += a20 * b0 + a21 * b1 + a22 * b2 + a23 * b3
                        c[3, k] += a30 * b0 + a31 * b1 + a32 * b2 + a33 * b3

    return fours


@functools.cache
def _rest(real: Any) -> Any:
    entry = _entry(real)

    @part
    @named(f"rest_{real.__name__}")
    def rest(left, down, across, right, out, fresh, first_row, first_inner):
        """The remaining products: all of rows from first_row on; of the others, from first_inner on."""
        wide_vectors()
        for i in range(out.shape[0]):
            start = 0 if i >= first_row else first_inner
            fours = right.shape[0] - (right.shape[0] - start) % 4
            row = left + i * down
            for j in range(start, fours, 4):
                place = row + j * across
                a0, a1 = entry(place), entry(place + across)
                a2, a3 = entry(place + 2 * across), entry(place + 3 * across)
                if fresh and j == 0:
                    for k in range(out.shape[1]):
                        out[i, k] = 0
                for k in range(out.shape[1]):
                    first_two = a0 * right[j, k] + a1 * right[j + 1, k]
                    out[i, k] += first_two + a2 * right[j + 2, k] + a3 * right[j + 3, k]
            for j in range(fours, right.shape[0]):
                a0 = entry(row + j * across)
                if fresh and j == 0:
                    for k in range(out.shape[1]):
                        out[i, k] = a0 * right[j, k]
                else:
                    for k in range(out.shape[1]):
                        out[i, k] += a0 * right[j, k]

    return rest


@functools.cache
def product(real: Any) -> Any:
    """(left, down, across, right, out, rows, inner, width, fresh): out += left @ right, or = where fresh.

    Of left, (rows, inner), entries are so many bytes apart; right and out have rows of `width` entries.
    """
    fours, rest = _fours(real), _rest(real)

    @callback(f"product_{real.__name__}", 9)
    def product_at(left, down, across, right, out, rows, inner, width, fresh):
        r, o = array_at(right, (inner, width), real), array_at(out, (rows, width), real)
        first_row, first_inner = rows // 4 * 4, inner // 4 * 4
        fours(left, down, across, r, o, fresh, first_row, first_inner)
        if first_row < rows or first_inner < inner:
            rest(left, down, across, r, o, fresh, first_row, first_inner)

    return product_at


@part
def load_rows(source, i, end, c, a, w):
    """Particles i, i + 1, … of source, up to the end, into a (c, rows) and w (rows, p), padded with zeros."""
    for q in range(w.shape[0]):
        for o in range(c):
            a[o, q] = source[i + q, o] if i + q < end else 0
        for j in range(w.shape[1]):
            w[q, j] = source[i + q, c + j] if i + q < end and c + j < source.shape[1] else 0


@part
def load_columns(source, i, end, c, a, w):
    """Particles i, i + 1, … of source into the columns of a (c, width) and w (p, width), with zeros as above."""
    for q in range(w.shape[1]):
        for o in range(c):
            a[o, q] = source[i + q, o] if i + q < end else 0
        for j in range(w.shape[0]):
            w[j, q] = source[i + q, c + j] if i + q < end and c + j < source.shape[1] else 0


@part
def double(source, out):
    """out = 2 · source: terms that occur twice in a second derivative are added once."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = source[i, j] + source[i, j]


@part
def clear(out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = 0


@functools.cache
def network_block(real: Any) -> Any:
    """Σ_i a_i σ(w_i·x) over the particles of a block, and its derivatives along the direction, into the b-th of out."""
    size = np.dtype(real).itemsize

    @callback(f"network_{real.__name__}_tiles", 5)
    def block(address, b, begin, end, work):
        job = read_job(address)
        height, one = np.intp(_FORWARD_ROWS), np.intp(1)
        order, c, n, p = job.order, job.outputs, job.data, job.inputs_count
        padded = -(-p // 4) * 4
        width = row_width(n, _FORWARD_BYTES, size)
        particles = array_at(job.particles, (end, c + p), real)
        direction = array_at(job.direction, (end, c + p), real)
        inputs = array_at(job.inputs, (-(-n // 4) * 4, padded), real)
        total = array_at(job.out + b * (order + 1) * n * c * size, ((order + 1) * n, c), real)
        line, plane = width * size, height * width * size
        tile = work
        dz = tile + (order + 1) * plane
        x_at = dz + plane
        f_at = x_at + padded * line
        w_at = f_at + (order + 1) * c * line
        dw_at = w_at + height * padded * size
        a_at = dw_at + height * padded * size
        da_at = a_at + c * height * size
        twice_at = da_at + c * height * size
        x, f = array_at(x_at, (padded, width), real), array_at(f_at, ((order + 1) * c, width), real)
        w, dw = array_at(w_at, (height, padded), real), array_at(dw_at, (height, padded), real)
        a, da = array_at(a_at, (c, height), real), array_at(da_at, (c, height), real)
        twice = array_at(twice_at, (c, height), real)
        down, turned = padded * size, height * size
        for k in range(0, n, width):
            load_inputs(inputs, k, n, x)
            clear(f)
            for i in range(begin, end, height):
                load_rows(particles, i, end, c, a, w)
                call_at(job.product, (w_at, down, size, x_at, tile, height, padded, width, one))
                if order > 0:
                    load_rows(direction, i, end, c, da, dw)
                    double(da, twice)
                    call_at(job.product, (dw_at, down, size, x_at, dz, height, padded, width, one))
                call_at(job.loop, (tile, height * width, height * width))
                if order > 0:
                    call_at(job.chain, (tile, dz, height * width, height * width))
                add_row(job, a_at, turned, tile, f_at, c, height, width)
                if order > 0:
                    add_row(job, da_at, turned, tile, f_at + c * line, c, height, width)
                    add_row(job, a_at, turned, tile + plane, f_at + c * line, c, height, width)
                if order > 1:
                    last = f_at + 2 * c * line
                    add_row(job, twice_at, turned, tile + plane, last, c, height, width)
                    add_row(job, a_at, turned, tile + 2 * plane, last, c, height, width)
            for j in range(order + 1):
                for o in range(c):
                    for q in range(min(width, n - k)):
                        total[j * n + k + q, o] = f[j * c + o, q]

    return block


@part
def load_inputs(inputs, k, n, x):
    """Data k, k + 1, … into the columns of x (p, width), with zeros as above."""
    for q in range(x.shape[1]):
        for j in range(x.shape[0]):
            x[j, q] = inputs[k + q, j] if k + q < n else 0


@part
def add_row(job, left, down, right, out, rows, inner, width):
    """out += left @ right, of left with contiguous rows."""
    call_at(job.product, (left, down, job.itemsize, right, out, rows, inner, width, 0))


@functools.cache
def gradient_block(real: Any) -> Any:
    """The m-th derivative of Σ_k r_k·∇_θ[a σ(w·x_k)] for the particles of a block, m = order, into their rows of out."""
    size = np.dtype(real).itemsize

    @callback(f"gradient_{real.__name__}_tiles", 5)
    def block(address, b, begin, end, work):
        job = read_job(address)
        height = np.intp(_BACKWARD_ROWS)
        order, c, p = job.order, job.outputs, job.inputs_count
        n, padded = -(-job.data // 4) * 4, -(-p // 4) * 4
        width = row_width(end - begin, _BACKWARD_BYTES, size)
        particles = array_at(job.particles, (end, c + p), real)
        direction = array_at(job.direction, (end, c + p), real)
        gradient = array_at(job.out, (end, c + p), real)
        line, plane = width * size, height * width * size
        tile = work
        dz = tile + (order + 2) * plane
        s = dz + plane
        w_at = s + (order + 1) * plane
        dw_at = w_at + padded * line
        a_at = dw_at + padded * line
        da_at = a_at + c * line
        twice_at = da_at + c * line
        g_at = twice_at + c * line
        g_a_at = g_at + padded * line
        w, dw = array_at(w_at, (padded, width), real), array_at(dw_at, (padded, width), real)
        a, da = array_at(a_at, (c, width), real), array_at(da_at, (c, width), real)
        twice = array_at(twice_at, (c, width), real)
        g, g_a = array_at(g_at, (padded, width), real), array_at(g_a_at, (c, width), real)
        of_inputs, of_r = padded * size, c * size
        for i in range(begin, end, width):
            load_columns(particles, i, end, c, a, w)
            if order > 0:
                load_columns(direction, i, end, c, da, dw)
                double(da, twice)
            clear(g)
            clear(g_a)
            for k in range(0, n, height):
                rows = min(height, n - k)
                x, r = job.inputs + k * of_inputs, job.residuals + k * of_r
                set_rows(job, x, of_inputs, w_at, tile, rows, padded, width)
                if order > 0:
                    set_rows(job, x, of_inputs, dw_at, dz, rows, padded, width)
                set_slopes(job, r, (a_at, da_at, twice_at), s, plane, rows, width)
                call_at(job.loop, (tile, height * width, rows * width))
                call_at(job.chain, (tile, dz, s, height * width, rows * width))
                for j in range(order + 1):
                    weights = r + (order - j) * n * of_r
                    add_columns(job, weights, of_r, tile + j * plane, g_a_at, c, rows, width)
                add_columns(job, x, of_inputs, s, g_at, padded, rows, width)
            for q in range(min(width, end - i)):
                for o in range(c):
                    gradient[i + q, o] = g_a[o, q]
                for j in range(p):
                    gradient[i + q, c + j] = g[j, q]

    return block


@part
def set_rows(job, left, down, right, out, rows, inner, width):
    """out = left @ right, of left with contiguous rows."""
    call_at(job.product, (left, down, job.itemsize, right, out, rows, inner, width, 1))


@part
def set_slopes(job, r, weights, s, plane, rows, width):
    """s = a·r and its derivatives, for some data; the weights are addresses of a, ȧ and 2ȧ."""
    c, order = job.outputs, job.order
    a, da, twice = weights
    down = c * job.itemsize
    derivative = -(-job.data // 4) * 4 * down
    set_rows(job, r, down, a, s, rows, c, width)
    if order > 0:
        set_rows(job, r + derivative, down, a, s + plane, rows, c, width)
        add_row(job, r, down, da, s + plane, rows, c, width)
    if order > 1:
        set_rows(job, r + 2 * derivative, down, a, s + 2 * plane, rows, c, width)
        add_row(job, r + derivative, down, twice, s + 2 * plane, rows, c, width)


@part
def add_columns(job, left, across, right, out, rows, inner, width):
    """out += left.T @ right, of left with contiguous rows."""
    call_at(job.product, (left, job.itemsize, across, right, out, rows, inner, width, 0))
