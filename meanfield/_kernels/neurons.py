"""Gradients with one output and at most four weights a particle: activations take most of the time, and nothing is stored.

One pass takes the weighted inputs, activates them and adds up, four particles (forward) or four data (backward) at a time, so
that sums are loaded and stored once for four activations. A tile is one array with rows of fixed length, which tells the
compiler that they do not overlap: first the rows that vectors run along, then one row for each particle or datum, of which only
the first entries are used.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from .activations import jet
from .jit import COMPILED, call_address, callback, carray, named, part, wide_vectors

WEIGHTS = 4
_MOST_BYTES = 2048  # that vectors run along
_ROW_BYTES = (
    _MOST_BYTES + 64
)  # of a row; an odd number of cache lines, so that rows do not compete for places in the cache
_AT_ONCE = 32  # rows of particles or data in a tile
_ROW_UNIT = 64  # bytes of a vector
_FORWARD, _BACKWARD = WEIGHTS + 1, 2 * WEIGHTS + 2  # rows that vectors run along


@functools.cache
def forward_sums(name: str, real: Any) -> Any:
    """Tiles x₀ … x₃, f, then (w₀ … w₃, a) of particles: f += Σ a σ(w·x), in the first `width` entries."""
    sigma = jet(name, real)

    @part
    @named(f"add_forward_{name}_{real.__name__}")
    def add(t, width, count):
        wide_vectors()
        for q in range(_FORWARD, _FORWARD + count, 4):
            v, w, y, z = t[q], t[q + 1], t[q + 2], t[q + 3]
            v0, v1, v2, v3, va = v[0], v[1], v[2], v[3], v[4]
            w0, w1, w2, w3, wa = w[0], w[1], w[2], w[3], w[4]
            y0, y1, y2, y3, ya = y[0], y[1], y[2], y[3], y[4]
            z0, z1, z2, z3, za = z[0], z[1], z[2], z[3], z[4]
            for k in range(width):
                x0, x1, x2, x3 = t[0, k], t[1, k], t[2, k], t[3, k]
                h0, _, _, _ = sigma(v0 * x0 + v1 * x1 + v2 * x2 + v3 * x3)
                h1, _, _, _ = sigma(w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3)
                h2, _, _, _ = sigma(y0 * x0 + y1 * x1 + y2 * x2 + y3 * x3)
                h3, _, _, _ = sigma(z0 * x0 + z1 * x1 + z2 * x2 + z3 * x3)
                t[4, k] += va * h0 + wa * h1 + ya * h2 + za * h3

    return _compiled(add, f"forward_{name}", real)


@functools.cache
def backward_sums(name: str, real: Any) -> Any:
    """Tiles w₀ … w₃, a, g₀ … g₃, g_a, then (x₀ … x₃, r) of data: g_a += Σ r σ(w·x) and g += Σ r a σ'(w·x) x."""
    sigma = jet(name, real)

    @part
    @named(f"add_backward_{name}_{real.__name__}")
    def add(t, width, count):
        wide_vectors()
        for q in range(_BACKWARD, _BACKWARD + count, 4):
            v, w, y, z = t[q], t[q + 1], t[q + 2], t[q + 3]
            v0, v1, v2, v3, vr = v[0], v[1], v[2], v[3], v[4]
            w0, w1, w2, w3, wr = w[0], w[1], w[2], w[3], w[4]
            y0, y1, y2, y3, yr = y[0], y[1], y[2], y[3], y[4]
            z0, z1, z2, z3, zr = z[0], z[1], z[2], z[3], z[4]
            for k in range(width):
                p0, p1, p2, p3, a = t[0, k], t[1, k], t[2, k], t[3, k], t[4, k]
                h0, s0, _, _ = sigma(v0 * p0 + v1 * p1 + v2 * p2 + v3 * p3)
                h1, s1, _, _ = sigma(w0 * p0 + w1 * p1 + w2 * p2 + w3 * p3)
                h2, s2, _, _ = sigma(y0 * p0 + y1 * p1 + y2 * p2 + y3 * p3)
                h3, s3, _, _ = sigma(z0 * p0 + z1 * p1 + z2 * p2 + z3 * p3)
                u0, u1, u2, u3 = a * vr * s0, a * wr * s1, a * yr * s2, a * zr * s3
                t[5, k] += u0 * v0 + u1 * w0 + u2 * y0 + u3 * z0
                t[6, k] += u0 * v1 + u1 * w1 + u2 * y1 + u3 * z1
                t[7, k] += u0 * v2 + u1 * w2 + u2 * y2 + u3 * z2
                t[8, k] += u0 * v3 + u1 * w3 + u2 * y3 + u3 * z3
                t[9, k] += vr * h0 + wr * h1 + yr * h2 + zr * h3

    return _compiled(add, f"backward_{name}", real)


def _compiled(add: Any, name: str, real: Any) -> Any:
    """The address of a function of tiles, width and count; without the compiler, the function."""
    if not COMPILED:
        return add
    integer = numba.types.intp
    number: Any = numba.types.CPointer(numba.from_dtype(np.dtype(real)))
    length = _ROW_BYTES // np.dtype(real).itemsize

    @callback(f"{name}_{real.__name__}", numba.types.void(number, integer, integer))
    def add_at(data, width, count):
        add(carray(data, (_BACKWARD + _AT_ONCE, length)), width, count)

    return add_at


def _add_compiled(sums, tile, width, count):
    call_address(sums, tile.ctypes.data, width, count)


def _add_plainly(sums, tile, width, count):
    sums(tile, width, count)


add_sums = part(_add_compiled if COMPILED else _add_plainly)


@part
def new_tile(like):
    """Zeros (rows, row length) that begin at a cache line."""
    length = _ROW_BYTES // like.itemsize
    size = (_BACKWARD + _AT_ONCE) * length
    flat = np.zeros(size + 64 // like.itemsize, like.dtype)
    skip = (-flat.ctypes.data % 64) // like.itemsize
    return flat[skip : skip + size].reshape((_BACKWARD + _AT_ONCE, length))


@part
def row_width(n, like):
    """Entries of a row, of which n fill equal rows with little left over, in whole vectors."""
    unit, most = _ROW_UNIT // like.itemsize, _MOST_BYTES // like.itemsize
    shares = -(-n // most)
    return -(-n // (shares * unit)) * unit


@part
def network_block(calls, particles, direction, c, inputs, kept, total):
    """Σ_i a_i σ(w_i·x) over some particles into total (1, n, 1); a particle is (a, w), at most four weights."""
    sums = calls[0]
    n, p, t = inputs.shape[0], inputs.shape[1], new_tile(total)
    width = row_width(n, total)
    for k in range(0, n, width):
        for q in range(width):
            t[4, q] = 0
            for j in range(p):
                t[j, q] = inputs[k + q, j] if k + q < n else 0
        for i in range(0, particles.shape[0], _AT_ONCE):
            count = min(_AT_ONCE, particles.shape[0] - i)
            fours = -(-count // 4) * 4
            for q in range(fours):
                t[_FORWARD + q, 4] = particles[i + q, 0] if q < count else 0
                for j in range(p):
                    t[_FORWARD + q, j] = particles[i + q, 1 + j] if q < count else 0
            add_sums(sums, t, width, fours)
        for q in range(min(width, n - k)):
            total[0, k + q, 0] = t[4, q]


@part
def gradient_block(calls, particles, direction, c, inputs, r, kept, gradient):
    """Σ_k r_k ∇_θ[a σ(w·x_k)] for some particles into gradient (particles, 1 + p), for r (1, n, 1)."""
    sums = calls[0]
    n, p, t = inputs.shape[0], inputs.shape[1], new_tile(gradient)
    width = row_width(particles.shape[0], gradient)
    for i in range(0, particles.shape[0], width):
        for q in range(width):
            present = i + q < particles.shape[0]
            t[4, q] = particles[i + q, 0] if present else 0
            for j in range(p):
                t[j, q] = particles[i + q, 1 + j] if present else 0
            for j in range(WEIGHTS + 1):
                t[WEIGHTS + 1 + j, q] = 0
        for k in range(0, n, _AT_ONCE):
            count = min(_AT_ONCE, n - k)
            fours = -(-count // 4) * 4
            for q in range(fours):
                t[_BACKWARD + q, 4] = r[0, k + q, 0] if q < count else 0
                for j in range(p):
                    t[_BACKWARD + q, j] = inputs[k + q, j] if q < count else 0
            add_sums(sums, t, width, fours)
        for q in range(min(width, particles.shape[0] - i)):
            gradient[i + q, 0] = t[_BACKWARD - 1, q]
            for j in range(p):
                gradient[i + q, 1 + j] = t[WEIGHTS + 1 + j, q]
