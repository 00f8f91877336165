"""Blocks of particles for many inputs: matrix products by BLAS, on tiles of rows of particles and columns of data.

BLAS copies its operands, so that its rate depends on the tile. At 100 inputs it was a fifth lower with 64 rows than with 128, and
more than 256 columns gained nothing. At 3000 inputs, 250 rows and 500 columns gave 50 to 60 GFLOP/s, as whole matrices do, where
125 rows and 256 columns gave 30 to 45.

With many inputs and enough memory, z and ż of the forward pass are kept for the backward pass, which then takes two thirds
of the products: `kept` (order + 1, rows, n) has a row for each particle of the block, or none, and then they are recomputed
by the same products on the same tiles. Hessian products at one point share z: with `known`, kept[0] has it already. The numbers
are the same.
"""

from __future__ import annotations

import numpy as np

from .activations import fill_jets
from .chain import chain_backward, chain_forward
from .jit import part
from .products import multiply

MANY_INPUTS = 256
ROWS, _COLUMNS = 128, 256
MOST_ROWS, _MOST_COLUMNS = 256, 512


@part
def tile_size(n_particles, n, p):
    """Particles and data of a tile; it must not depend on which share of the data this is."""
    if p < MANY_INPUTS:
        return min(ROWS, n_particles), min(_COLUMNS, n)
    return min(MOST_ROWS, n_particles), min(_MOST_COLUMNS, n)


@part
def cut_tile(work, tiles, rows, columns):
    """The beginning of work as (tiles, rows, columns)."""
    return work[: tiles * rows * columns].reshape((tiles, rows, columns))


@part
def copy(source, out):
    """Copy by loops, as array expressions take numba seconds each to compile."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = source[i, j]


@part
def load_weighted(gemm, particles, inputs, kept, fresh, out):
    """out = particles @ inputs.T, or its kept values; if fresh, it is kept where there is room."""
    nothing = out.dtype.type(0)
    if kept.shape[0] == 0:
        multiply(gemm, particles, inputs.T, out, nothing)
        return
    if fresh:
        multiply(gemm, particles, inputs.T, kept, nothing)
    copy(kept, out)


@part
def network_block(calls, particles, direction, c, inputs, kept, total):
    """Σ_i a_i σ(w_i·x) over some particles, and its derivatives along the direction, into total (order + 1, n, c)."""
    jets, gemm, known = calls
    order, n = total.shape[0] - 1, inputs.shape[0]
    rows, columns = tile_size(particles.shape[0], n, inputs.shape[1])
    one = total.dtype.type(1)
    work = np.empty((order + 1) * rows * columns, total.dtype)
    dz_work = np.empty(rows * columns, total.dtype)
    total[:] = 0
    for i in range(0, particles.shape[0], rows):
        j = min(i + rows, particles.shape[0])
        a, da = particles[i:j, :c], direction[i:j, :c]
        for k in range(0, n, columns):
            m = min(k + columns, n)
            tile = cut_tile(work, order + 1, j - i, m - k)
            dz = cut_tile(dz_work, 1, j - i, m - k)[0]
            x = inputs[k:m]
            load_weighted(gemm, particles[i:j, c:], x, kept[0, i:j, k:m], known == 0, tile[0])
            if order > 0:
                load_weighted(gemm, direction[i:j, c:], x, kept[1, i:j, k:m], True, dz)
            fill_jets(jets, tile, dz.size)
            chain_forward(tile, dz)
            multiply(gemm, tile[0].T, a, total[0, k:m], one)
            if order > 0:
                multiply(gemm, tile[0].T, da, total[1, k:m], one)
                multiply(gemm, tile[1].T, a, total[1, k:m], one)
            if order > 1:
                multiply(gemm, tile[1].T, da, total[2, k:m], one)
                multiply(gemm, tile[1].T, da, total[2, k:m], one)
                multiply(gemm, tile[2].T, a, total[2, k:m], one)


@part
def gradient_block(calls, particles, direction, c, inputs, r, kept, gradient):
    """The m-th derivative of Σ_k r_k·∇_θ[a σ(w·x_k)] for some particles, m + 1 = len(r), into gradient (particles, c + p)."""
    jets, gemm = calls
    order, n = r.shape[0] - 1, inputs.shape[0]
    rows, columns = tile_size(particles.shape[0], n, inputs.shape[1])
    nothing, one = gradient.dtype.type(0), gradient.dtype.type(1)
    work = np.empty((order + 2) * rows * columns, gradient.dtype)
    dz_work = np.empty(rows * columns, gradient.dtype)
    s_work = np.empty((order + 1) * rows * columns, gradient.dtype)
    for i in range(0, particles.shape[0], rows):
        j = min(i + rows, particles.shape[0])
        a, da = particles[i:j, :c], direction[i:j, :c]
        for k in range(0, n, columns):
            m = min(k + columns, n)
            tile = cut_tile(work, order + 2, j - i, m - k)
            s = cut_tile(s_work, order + 1, j - i, m - k)
            dz = cut_tile(dz_work, 1, j - i, m - k)[0]
            x = inputs[k:m]
            load_weighted(gemm, particles[i:j, c:], x, kept[0, i:j, k:m], False, tile[0])
            multiply(gemm, a, r[0, k:m].T, s[0], nothing)
            if order > 0:
                load_weighted(gemm, direction[i:j, c:], x, kept[1, i:j, k:m], False, dz)
                multiply(gemm, a, r[1, k:m].T, s[1], nothing)
                multiply(gemm, da, r[0, k:m].T, s[1], one)
            if order > 1:
                multiply(gemm, a, r[2, k:m].T, s[2], nothing)
                multiply(gemm, da, r[1, k:m].T, s[2], one)
                multiply(gemm, da, r[1, k:m].T, s[2], one)
            fill_jets(jets, tile, dz.size)
            chain_backward(tile, dz, s, j - i)
            sofar = one if k > 0 else nothing
            multiply(gemm, tile[0], r[order, k:m], gradient[i:j, :c], sofar)
            for q in range(1, order + 1):
                multiply(gemm, tile[q], r[order - q, k:m], gradient[i:j, :c], one)
            multiply(gemm, s[0], x, gradient[i:j, c:], sofar)
