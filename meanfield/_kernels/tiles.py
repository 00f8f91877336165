"""Blocks of particles for few inputs: tiles that fit the L1 cache, products in groups of four in registers.

Every inner loop runs along a row, so LLVM makes vectors of it and no sum is taken across a vector: sums are taken in the order
written. Forward, a row holds data, one particle to a row; backward, it holds particles, one datum to a row. Rows are
as long as a whole number of vectors and in groups of four, padded with zeros; `inputs` (n, p) and `r` (m + 1, n, c)
are padded in the same way in n and p.
"""

from __future__ import annotations

import numpy as np

from .activations import fill_jets
from .chain import chain_backward, chain_forward
from .jit import part, wide_vectors

_FORWARD_ROWS, _BACKWARD_ROWS = 8, 32
_FORWARD_BYTES, _BACKWARD_BYTES = 2048, 512  # of a row, at most
_ROW_UNIT = 128  # bytes: two vectors, as LLVM unrolls loops by two
_ALIGNMENT = 64  # a vector that lies across two cache lines costs two loads


@part
def row_width(n, most_bytes, like):
    """Entries of a row, of which n fill equal rows with little left over."""
    unit, most = _ROW_UNIT // like.itemsize, most_bytes // like.itemsize
    shares = -(-n // most)
    return -(-n // (shares * unit)) * unit


@part
def zero_tiles(tiles, rows, width, like):
    """Zeros (tiles, rows, width) of the precision of an array, that begin at a cache line."""
    flat = np.zeros(tiles * rows * width + _ALIGNMENT // like.itemsize, like.dtype)
    skip = (-flat.ctypes.data % _ALIGNMENT) // like.itemsize
    return flat[skip : skip + tiles * rows * width].reshape((tiles, rows, width))


@part
def multiply_fours(left, right, out, fresh, rows, inner):
    """The first rows and the first inner terms of left @ right, both in groups of four."""
    wide_vectors()
    for i in range(0, rows, 4):
        c = out[i : i + 4]
        for j in range(0, inner, 4):
            b = right[j : j + 4]
            a = left[i : i + 4, j : j + 4]
            a00, a01, a02, a03 = a[0, 0], a[0, 1], a[0, 2], a[0, 3]
            a10, a11, a12, a13 = a[1, 0], a[1, 1], a[1, 2], a[1, 3]
            a20, a21, a22, a23 = a[2, 0], a[2, 1], a[2, 2], a[2, 3]
            a30, a31, a32, a33 = a[3, 0], a[3, 1], a[3, 2], a[3, 3]
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


@part
def multiply_rest(left, right, out, fresh, first_row, first_inner):
    """The remaining products: all of rows from first_row on; of the others, from first_inner on."""
    wide_vectors()
    for i in range(out.shape[0]):
        start = 0 if i >= first_row else first_inner
        fours = right.shape[0] - (right.shape[0] - start) % 4
        for j in range(start, fours, 4):
            a0, a1, a2, a3 = left[i, j], left[i, j + 1], left[i, j + 2], left[i, j + 3]
            if fresh and j == 0:
                for k in range(out.shape[1]):
                    out[i, k] = 0
            for k in range(out.shape[1]):
                first_two = a0 * right[j, k] + a1 * right[j + 1, k]
                out[i, k] += first_two + a2 * right[j + 2, k] + a3 * right[j + 3, k]
        for j in range(fours, right.shape[0]):
            a0 = left[i, j]
            if fresh and j == 0:
                for k in range(out.shape[1]):
                    out[i, k] = a0 * right[j, k]
            else:
                for k in range(out.shape[1]):
                    out[i, k] += a0 * right[j, k]


@part
def multiply(left, right, out, fresh):
    """out += left @ right, or = where fresh."""
    rows, inner = out.shape[0] // 4 * 4, right.shape[0] // 4 * 4
    multiply_fours(left, right, out, fresh, rows, inner)
    if rows < out.shape[0] or inner < right.shape[0]:
        multiply_rest(left, right, out, fresh, rows, inner)


@part
def load_rows(source, i, c, a, w):
    """Particles i, i + 1, … of source into a (c, rows) and w (rows, p), padded with zeros."""
    for q in range(w.shape[0]):
        present = i + q < source.shape[0]
        for o in range(c):
            a[o, q] = source[i + q, o] if present else 0
        for j in range(source.shape[1] - c):
            w[q, j] = source[i + q, c + j] if present else 0


@part
def load_columns(source, i, c, a, w):
    """Particles i, i + 1, … of source into the columns of a (c, width) and w (p, width), with zeros as above."""
    for q in range(w.shape[1]):
        present = i + q < source.shape[0]
        for o in range(c):
            a[o, q] = source[i + q, o] if present else 0
        for j in range(source.shape[1] - c):
            w[j, q] = source[i + q, c + j] if present else 0


@part
def double(source, out):
    """out = 2 · source: terms that occur twice in a second derivative are added once."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = source[i, j] + source[i, j]


@part
def load_inputs(inputs, k, x):
    """Data k, k + 1, … into the columns of x (p, width), with zeros as above."""
    for q in range(x.shape[1]):
        for j in range(x.shape[0]):
            x[j, q] = inputs[k + q, j] if k + q < inputs.shape[0] else 0


@part
def network_block(calls, particles, direction, c, inputs, kept, total):
    """Σ_i a_i σ(w_i·x) over some particles, and its derivatives along the direction, into total (order + 1, n, c)."""
    jets = calls[0]
    order, n, p = total.shape[0] - 1, total.shape[1], inputs.shape[1]
    width = row_width(n, _FORWARD_BYTES, total)
    x, f = zero_tiles(1, p, width, total)[0], zero_tiles(order + 1, c, width, total)
    tile = zero_tiles(order + 1, _FORWARD_ROWS, width, total)
    dz = zero_tiles(1, _FORWARD_ROWS, width, total)[0]
    w, a = np.zeros((_FORWARD_ROWS, p), total.dtype), np.zeros((c, _FORWARD_ROWS), total.dtype)
    dw, da, twice = np.zeros_like(w), np.zeros_like(a), np.zeros_like(a)
    for k in range(0, n, width):
        load_inputs(inputs, k, x)
        f[:] = 0
        for i in range(0, particles.shape[0], _FORWARD_ROWS):
            load_rows(particles, i, c, a, w)
            multiply(w, x, tile[0], True)
            if order > 0:
                load_rows(direction, i, c, da, dw)
                double(da, twice)
                multiply(dw, x, dz, True)
            fill_jets(jets, tile, _FORWARD_ROWS * width)
            chain_forward(tile, dz)
            multiply(a, tile[0], f[0], False)
            if order > 0:
                multiply(da, tile[0], f[1], False)
                multiply(a, tile[1], f[1], False)
            if order > 1:
                multiply(twice, tile[1], f[2], False)
                multiply(a, tile[2], f[2], False)
        for j in range(order + 1):
            for o in range(c):
                for q in range(min(width, n - k)):
                    total[j, k + q, o] = f[j, o, q]


@part
def gradient_block(calls, particles, direction, c, inputs, r, kept, gradient):
    """The m-th derivative of Σ_k r_k·∇_θ[a σ(w·x_k)] for some particles, m + 1 = len(r), into gradient (particles, c + p)."""
    jets = calls[0]
    order, n, p = r.shape[0] - 1, inputs.shape[0], inputs.shape[1]
    width = row_width(particles.shape[0], _BACKWARD_BYTES, gradient)
    tile = zero_tiles(order + 2, _BACKWARD_ROWS, width, gradient)
    dz = zero_tiles(1, _BACKWARD_ROWS, width, gradient)[0]
    s = zero_tiles(order + 1, _BACKWARD_ROWS, width, gradient)
    w, a = zero_tiles(2, p, width, gradient), zero_tiles(3, c, width, gradient)
    g, g_a = zero_tiles(1, p, width, gradient)[0], zero_tiles(1, c, width, gradient)[0]
    for i in range(0, particles.shape[0], width):
        load_columns(particles, i, c, a[0], w[0])
        if order > 0:
            load_columns(direction, i, c, a[1], w[1])
            double(a[1], a[2])
        g[:] = 0
        g_a[:] = 0
        for k in range(0, n, _BACKWARD_ROWS):
            m = min(k + _BACKWARD_ROWS, n)
            rows = m - k
            x = inputs[k:m]
            multiply(x, w[0], tile[0, :rows], True)
            multiply(r[0, k:m], a[0], s[0, :rows], True)
            if order > 0:
                multiply(x, w[1], dz[:rows], True)
                multiply(r[1, k:m], a[0], s[1, :rows], True)
                multiply(r[0, k:m], a[1], s[1, :rows], False)
            if order > 1:
                multiply(r[2, k:m], a[0], s[2, :rows], True)
                multiply(r[1, k:m], a[2], s[2, :rows], False)
            fill_jets(jets, tile, rows * width)
            chain_backward(tile, dz, s, rows)
            for j in range(order + 1):
                multiply(r[order - j, k:m].T, tile[j, :rows], g_a, False)
            multiply(x.T, s[0, :rows], g, False)
        for q in range(min(width, particles.shape[0] - i)):
            for o in range(c):
                gradient[i + q, o] = g_a[o, q]
            for j in range(particles.shape[1] - c):
                gradient[i + q, c + j] = g[j, q]
