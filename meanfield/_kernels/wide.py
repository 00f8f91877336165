"""Blocks of particles for many inputs: matrix products by BLAS, on tiles of rows of particles and columns of data.

BLAS must be held to one thread by the caller. Tiles are larger where the products are long, since BLAS copies its operands.
"""

from __future__ import annotations

import numpy as np

from .activations import fill_jets
from .chain import chain_backward, chain_forward
from .jit import part

_MANY_INPUTS = 256
_FEW_ROWS, _FEW_COLUMNS = 64, 256
_MANY_ROWS, _MANY_COLUMNS = 128, 512


@part
def tile_size(n_particles, n, p):
    """Particles and data of a tile, the data in equal shares."""
    rows, columns = _FEW_ROWS, _FEW_COLUMNS
    if p >= _MANY_INPUTS:
        rows, columns = _MANY_ROWS, _MANY_COLUMNS
    shares = -(-n // columns)
    return min(rows, n_particles), -(-n // shares)


@part
def cut_tile(work, tiles, rows, columns):
    """The beginning of work as (tiles, rows, columns)."""
    return work[: tiles * rows * columns].reshape((tiles, rows, columns))


@part
def add_product(left, right, out):
    """out += left @ right. (Loops rather than array expressions, which take numba seconds each to compile.)"""
    product = np.dot(left, right)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += product[i, j]


@part
def network_block(jets, particles, direction, c, inputs, total):
    """Σ_i a_i σ(w_i·x) over some particles, and its derivatives along the direction, into total (order + 1, n, c)."""
    order, n, p = total.shape[0] - 1, inputs.shape[0], inputs.shape[1]
    rows, columns = tile_size(particles.shape[0], n, p)
    work = np.empty((order + 1) * rows * columns, total.dtype)
    dz_work = np.empty(rows * columns, total.dtype)
    total[:] = 0
    for i in range(0, particles.shape[0], rows):
        j = min(i + rows, particles.shape[0])
        # Contiguous copies: BLAS takes nothing else.
        a, w = particles[i:j, :c].copy(), particles[i:j, c:].copy()
        da, dw = direction[i:j, :c].copy(), direction[i:j, c:].copy()
        for k in range(0, n, columns):
            m = min(k + columns, n)
            tile, dz = (
                cut_tile(work, order + 1, j - i, m - k),
                cut_tile(dz_work, 1, j - i, m - k)[0],
            )
            np.dot(w, inputs[k:m].T, tile[0])
            if order > 0:
                np.dot(dw, inputs[k:m].T, dz)
            fill_jets(jets, tile, dz.size)
            chain_forward(tile, dz)
            add_product(tile[0].T, a, total[0, k:m])
            if order > 0:
                add_product(tile[0].T, da, total[1, k:m])
                add_product(tile[1].T, a, total[1, k:m])
            if order > 1:
                add_product(tile[1].T, da, total[2, k:m])
                add_product(tile[1].T, da, total[2, k:m])
                add_product(tile[2].T, a, total[2, k:m])


@part
def gradient_block(jets, particles, direction, c, inputs, r, gradient):
    """The m-th derivative of Σ_k r_k·∇_θ[a σ(w·x_k)] for some particles, m + 1 = len(r), into gradient (particles, c + p)."""
    order, n, p = r.shape[0] - 1, inputs.shape[0], inputs.shape[1]
    rows, columns = tile_size(particles.shape[0], n, p)
    work = np.empty((order + 2) * rows * columns, gradient.dtype)
    dz_work = np.empty(rows * columns, gradient.dtype)
    s_work = np.empty((order + 1) * rows * columns, gradient.dtype)
    gradient[:] = 0
    for i in range(0, particles.shape[0], rows):
        j = min(i + rows, particles.shape[0])
        a, w = particles[i:j, :c].copy(), particles[i:j, c:].copy()
        da, dw = direction[i:j, :c].copy(), direction[i:j, c:].copy()
        for k in range(0, n, columns):
            m = min(k + columns, n)
            tile, s = (
                cut_tile(work, order + 2, j - i, m - k),
                cut_tile(s_work, order + 1, j - i, m - k),
            )
            dz = cut_tile(dz_work, 1, j - i, m - k)[0]
            x = inputs[k:m]
            np.dot(w, x.T, tile[0])
            np.dot(a, r[0, k:m].T, s[0])
            if order > 0:
                np.dot(dw, x.T, dz)
                np.dot(a, r[1, k:m].T, s[1])
                add_product(da, r[0, k:m].T, s[1])
            if order > 1:
                np.dot(a, r[2, k:m].T, s[2])
                add_product(da, r[1, k:m].T, s[2])
                add_product(da, r[1, k:m].T, s[2])
            fill_jets(jets, tile, dz.size)
            chain_backward(tile, dz, s, j - i)
            for q in range(order + 1):
                add_product(tile[q], r[order - q, k:m], gradient[i:j, :c])
            add_product(s[0], x, gradient[i:j, c:])
