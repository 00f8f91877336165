"""Few inputs and one output: a single pass computes the weighted inputs, activates and sums them, without intermediate arrays.

Particles (forward) or data (backward) are processed four at a time, so that sums are loaded and stored once for four
activations, whose arguments are computed first: out-of-order execution covers only about one activation. A tile is one array
with rows of fixed length, so the compiler knows that they do not overlap: first the rows that vectors run along, then one row
for each particle or datum, of which only the first entries are used. The sums over inputs are written out for each number of
them, and compiled when first needed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .activations import jet
from .jit import array_at, call_at, callback, inlined, named, part, wide_vectors
from .job import read_job

_FIRST_CACHE = 24_576  # bytes of it for the rows that vectors run along
_LINE = 64  # bytes; rows are an odd number of cache lines, to avoid conflicts in the cache
_AT_ONCE = 32  # rows of particles or data in a tile

Function = Callable[..., Any]


def forward_rows(p: int, order: int) -> int:
    """Rows that vectors run along: x, then f and its derivatives."""
    return p + 1 + order


def backward_rows(p: int, order: int) -> int:
    """Rows that vectors run along: w, a, and ẇ, ȧ if there is a direction, then the gradient with respect to w, a."""
    return (p + 1) * (2 if order == 0 else 3)


def entries(order: int, n_particles: int, n: int, p: int, c: int) -> int:
    """Entries, of any precision, of the memory that a block works with."""
    rows = max(forward_rows(p, order), backward_rows(p, order))
    return int((rows + _AT_ONCE) * (_FIRST_CACHE + _LINE) // 4)


def chain(real: Any, order: int, backward: bool) -> Any:
    """The sums include it."""
    return 0


def product(real: Any) -> Any:
    """The sums include it."""
    return 0


@functools.cache
def forward_sums(name: str, real: Any, p: int, order: int) -> Any:
    """Tiles x, f, ḟ, f̈, then (w, a, ẇ, ȧ) of particles: f += Σ a σ(w·x) and its derivatives, in the first `width` entries."""
    which = f"{name}_{real.__name__}_{p}_{order}"
    sigma, entries, column, dot = jet(name, real), _entries(p), _column(p), _dot(p)
    first, zero = forward_rows(p, order), real(0)
    tile = _fixed_tile(first, real)

    @inlined
    @named(f"particle_{which}")
    def particle(row):
        w, a = entries(row, 0), row[p]
        return (w, a, w, a) if order == 0 else (w, a, entries(row, p + 1), row[2 * p + 1])

    @inlined
    @named(f"terms_{which}")
    def terms(one, z, x):
        _, a, dw, da = one
        h, s1, s2, _ = sigma(z)
        if order == 0:
            return a * h, zero, zero
        dz = dot(dw, x)
        bend = s1 * dz
        return a * h, da * h + a * bend, da * bend + da * bend + a * (s2 * dz * dz)

    @part
    @named(f"add_forward_{which}")
    def add(data, width, count):
        wide_vectors()
        t = tile(data)
        for q in range(first, first + count, 4):
            q0, q1 = particle(t[q]), particle(t[q + 1])
            q2, q3 = particle(t[q + 2]), particle(t[q + 3])
            for k in range(width):
                x = column(t, 0, k)
                z0, z1, z2, z3 = dot(q0[0], x), dot(q1[0], x), dot(q2[0], x), dot(q3[0], x)
                f0, f1 = terms(q0, z0, x), terms(q1, z1, x)
                f2, f3 = terms(q2, z2, x), terms(q3, z3, x)
                t[p, k] += f0[0] + f1[0] + f2[0] + f3[0]
                if order > 0:
                    t[p + 1, k] += f0[1] + f1[1] + f2[1] + f3[1]
                if order > 1:
                    t[p + 2, k] += f0[2] + f1[2] + f2[2] + f3[2]

    return _compiled(add, f"forward_{which}")


@functools.cache
def backward_sums(name: str, real: Any, p: int, order: int) -> Any:
    """Tiles (w, a, ẇ, ȧ), g, g_a, then (x, r, ṙ, r̈) of data: g_a += Σ r σ(w·x) and g += Σ r a σ'(w·x) x, or their derivatives."""
    which = f"{name}_{real.__name__}_{p}_{order}"
    sigma, entries, column = jet(name, real), _entries(p), _column(p)
    dot, add_four = _dot(p), _add_four(p)
    first = backward_rows(p, order)
    sums = first - p - 1
    tile = _fixed_tile(first, real)

    @inlined
    @named(f"datum_{which}")
    def datum(row):
        return entries(row, 0), row[p], row[p + min(order, 1)], row[p + order]

    @inlined
    @named(f"slopes_{which}")
    def slopes(one, z, a, dw, da):
        """The factor of x, and the derivative along a."""
        x, r, r1, r2 = one
        h, s1, s2, s3 = sigma(z)
        if order == 0:
            return a * r * s1, r * h
        dz = dot(dw, x)
        bend, ds = s1 * dz, a * r1 + da * r
        if order == 1:
            return ds * s1 + a * r * (s2 * dz), r1 * h + r * bend
        turn, dds = s2 * dz, a * r2 + (da * r1 + da * r1)
        u = dds * s1 + (ds + ds) * turn + a * r * (s3 * dz * dz)
        return u, r2 * h + (r1 + r1) * bend + r * (turn * dz)

    @part
    @named(f"add_backward_{which}")
    def add(data, width, count):
        wide_vectors()
        t = tile(data)
        for q in range(first, first + count, 4):
            q0, q1, q2, q3 = datum(t[q]), datum(t[q + 1]), datum(t[q + 2]), datum(t[q + 3])
            for k in range(width):
                w, a = column(t, 0, k), t[p, k]
                dw, da = (w, a) if order == 0 else (column(t, p + 1, k), t[2 * p + 1, k])
                z0, z1, z2, z3 = dot(q0[0], w), dot(q1[0], w), dot(q2[0], w), dot(q3[0], w)
                u0, v0 = slopes(q0, z0, a, dw, da)
                u1, v1 = slopes(q1, z1, a, dw, da)
                u2, v2 = slopes(q2, z2, a, dw, da)
                u3, v3 = slopes(q3, z3, a, dw, da)
                add_four(t, sums, k, u0, q0[0], u1, q1[0], u2, q2[0], u3, q3[0])
                t[sums + p, k] += v0 + v1 + v2 + v3

    return _compiled(add, f"backward_{which}")


# What follows is written out for p inputs: a loop over them would keep the compiler from making vectors along a row.


def _written(arguments: str, code: str, p: int) -> Function:
    space: dict[str, Any] = {}
    exec(f"def written({arguments}):\n{code}", space)
    return inlined(named(f"written_{arguments}_{p}")(space["written"]))


def _each(term: str, p: int, joint: str) -> str:
    return joint.join(term.replace("#", str(j)) for j in range(p))


@functools.cache
def _entries(p: int) -> Function:
    """(row, i) → the p entries of it from the i-th on."""
    return _written("row, i", f" return ({_each('row[i + #]', p, ', ')},)", p)


@functools.cache
def _column(p: int) -> Function:
    """(tile, i, k) → the k-th entries of the p rows from the i-th on."""
    return _written("t, i, k", f" return ({_each('t[i + #, k]', p, ', ')},)", p)


@functools.cache
def _dot(p: int) -> Function:
    """Four partial sums, as a single one would be limited by latency."""
    terms = [f"x[{j}] * y[{j}]" for j in range(p)]
    fours = [" + ".join(terms[j : j + 4]) for j in range(0, p, 4)]
    return _written("x, y", f" return ({') + ('.join(fours)})", p)


@functools.cache
def _add_four(p: int) -> Function:
    """The k-th entries of the p rows from the i-th on += a w + b x + c y + d z."""
    term = " t[i + #, k] += a * w[#] + b * x[#] + c * y[#] + d * z[#]"
    return _written("t, i, k, a, w, b, x, c, y, d, z", _each(term, p, "\n"), p)


def _row_length(rows: int, itemsize: int) -> int:
    """Entries of a row, of which all but the last line's may be used, so many rows being in use."""
    lines = _FIRST_CACHE // (rows * _LINE) // 2 * 2
    return (lines + 1) * _LINE // itemsize


def _fixed_tile(rows: int, real: Any) -> Function:
    """Address → tile. It fixes the distance of rows at compile time."""
    shape = (rows + _AT_ONCE, _row_length(rows, np.dtype(real).itemsize))

    @named(f"tile_{real.__name__}_{shape}")
    def tile(data):
        return array_at(data, shape, real)

    return inlined(tile)


def _compiled(add: Any, name: str) -> Any:
    """What ``call_at`` takes, with (tile, width, count)."""

    @callback(name, 3)
    def add_at(data, width, count):
        add(data, width, count)

    return add_at


_forward_rows, _backward_rows = part(forward_rows), part(backward_rows)
_length = part(_row_length)


@part
def row_width(n, length, size):
    """Entries of a row, of which n fill equal rows with little left over, in whole vectors."""
    unit = _LINE // size
    shares = -(-n // (length - unit))
    return -(-n // (shares * unit)) * unit


@part
def load_rows(source, i, c, count, tile, row, start, rows):
    """Entries c, …, then 0, …, c − 1 of rows i, i + 1, … of source into rows of a tile; zeros after `count` of them."""
    p = source.shape[1] - c
    for q in range(count):
        for j in range(p):
            tile[row + q, start + j] = source[i + q, c + j]
        for j in range(c):
            tile[row + q, start + p + j] = source[i + q, j]
    for q in range(count, rows):
        for j in range(p + c):
            tile[row + q, start + j] = 0


@part
def load_columns(source, i, c, count, tile, start, columns):
    """The same into columns of the rows from `start` on."""
    p = source.shape[1] - c
    for j in range(p + c):
        entry = c + j if j < p else j - p
        for q in range(count):
            tile[start + j, q] = source[i + q, entry]
        for q in range(count, columns):
            tile[start + j, q] = 0


@part
def clear(tile, first, last, width):
    """Zeros in some rows of a tile."""
    for j in range(first, last):
        for q in range(width):
            tile[j, q] = 0


@functools.cache
def network_block(real: Any) -> Any:
    """Σ_i a_i σ(w_i·x) over the particles of a block, and its derivatives along the direction, into the b-th of out."""
    size = np.dtype(real).itemsize

    @callback(f"network_{real.__name__}_neurons", 5)
    def block(address, b, begin, end, work):
        job = read_job(address)
        order, n, p = job.order, job.data, job.inputs_count
        first, none, one = _forward_rows(p, order), np.intp(0), np.intp(1)
        length = _length(first, size)
        t = array_at(work, (first + _AT_ONCE, length), real)
        particles = array_at(job.particles, (end, 1 + p), real)
        direction = array_at(job.direction, (end, 1 + p), real)
        inputs = array_at(job.inputs, (n, p), real)
        total = array_at(job.out + b * (order + 1) * n * size, (order + 1, n), real)
        width = row_width(n, length, size)
        for k in range(0, n, width):
            data = min(width, n - k)
            load_columns(inputs, k, none, data, t, none, width)
            clear(t, p, p + order + 1, width)
            for i in range(begin, end, _AT_ONCE):
                count = min(_AT_ONCE, end - i)
                fours = -(-count // 4) * 4
                load_rows(particles, i, one, count, t, first, none, fours)
                if order > 0:
                    load_rows(direction, i, one, count, t, first, p + 1, fours)
                call_at(job.loop, (work, width, fours))
            for m in range(order + 1):
                for q in range(data):
                    total[m, k + q] = t[p + m, q]

    return block


@functools.cache
def gradient_block(real: Any) -> Any:
    """The m-th derivative of Σ_k r_k ∇_θ[a σ(w·x_k)] for the particles of a block, m = order, into their rows of out."""
    size = np.dtype(real).itemsize

    @callback(f"gradient_{real.__name__}_neurons", 5)
    def block(address, b, begin, end, work):
        job = read_job(address)
        order, n, p = job.order, job.data, job.inputs_count
        first, none, one = _backward_rows(p, order), np.intp(0), np.intp(1)
        start = first - p - 1
        length = _length(first, size)
        t = array_at(work, (first + _AT_ONCE, length), real)
        particles = array_at(job.particles, (end, 1 + p), real)
        direction = array_at(job.direction, (end, 1 + p), real)
        gradient = array_at(job.out, (end, 1 + p), real)
        inputs = array_at(job.inputs, (n, p), real)
        r = array_at(job.residuals, (order + 1, n), real)
        width = row_width(end - begin, length, size)
        for i in range(begin, end, width):
            present = min(width, end - i)
            load_columns(particles, i, one, present, t, none, width)
            if order > 0:
                load_columns(direction, i, one, present, t, p + 1, width)
            clear(t, start, first, width)
            for k in range(0, n, _AT_ONCE):
                count = min(_AT_ONCE, n - k)
                fours = -(-count // 4) * 4
                load_rows(inputs, k, none, count, t, first, none, fours)
                for m in range(order + 1):
                    for q in range(fours):
                        t[first + q, p + m] = r[m, k + q] if q < count else 0
                call_at(job.loop, (work, width, fours))
            for j in range(p + 1):
                entry = 1 + j if j < p else 0
                for q in range(present):
                    gradient[i + q, entry] = t[start + j, q]

    return block
