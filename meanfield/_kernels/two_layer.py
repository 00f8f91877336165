"""Directional derivatives of a two-layer network and of its mean-field gradient, in blocks.

Write ``z = inputs @ w.T`` (the bias is the weight of a constant input), ``h = σ(z)`` and let a dot be the derivative along a
fixed direction ``(ȧ, ẇ)`` of the particles ``(a, w)``. Two drivers cover everything a risk needs:

- ``network_jet``: ``Σ_i d^j/dε^j [a_i σ(w_i·x)]`` for j = 0, …, m ≤ 2, in one pass;
- ``gradient_jet``: ``d^m/dε^m`` of ``Σ_k r_k·∇_θ[a σ(w·x_k)]`` where r has derivatives r⁰, r¹, r² along the same direction.

Particles come in blocks that the caller chooses, and a block is summed in one order by one thread: results depend on the blocks,
not on the number of threads. A block works on tiles of ``PARTICLE_TILE × DATA_TILE``, so memory does not grow with N × n. Matrix
products go to BLAS, which must be held to one thread by the caller.

Everything that is compiled together stands in this one file: the on-disk cache only notices edits of the file itself.
"""

import math

import numba
import numpy as np

from .jit import kernel

PARTICLE_TILE = 32
DATA_TILE = 256

# The index of a name is the integer by which the compiled code selects the activation.
ACTIVATIONS = ("tanh", "relu", "gelu", "erf", "sigmoid", "softplus", "sin", "quadratic")

_LN2_HIGH = 6.93147180369123816490e-01  # ln 2 split in two, so that k ln 2 loses nothing
_LN2_LOW = 1.90821492927058770002e-10
_INV_LN2 = 1.4426950408889634
_INV_SQRT_2PI = 0.3989422804014327
_INV_SQRT_2 = 0.7071067811865476
_TWO_OVER_SQRT_PI = 1.1283791670955126


@kernel(inline=True)
def _expm1_nonpositive(x):
    """exp(x) − 1 for x ≤ 0, without branches: x = k ln 2 + r, a Taylor polynomial in r (|r| ≤ ln 2 / 2), 2^k from its bits."""
    x = max(x, -60.0)  # exp(x) is below half an ulp of 1 long before
    k = np.floor(x * _INV_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r * r + r
    two_k = np.int64((np.int64(k) + 1023) << 52).view(np.float64)
    return two_k * p + (two_k - 1.0)


@kernel()
def _tanh(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        e = _expm1_nonpositive(-2.0 * abs(x))
        t = math.copysign(-e / (2.0 + e), x)
        slope = 1.0 - t * t
        s0[j] = t
        s1[j] = slope
        s2[j] = -2.0 * t * slope
        s3[j] = slope * (6.0 * t * t - 2.0)


@kernel()
def _sigmoid(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        e = 1.0 + _expm1_nonpositive(-abs(x))
        small = e / (1.0 + e)
        s = small if x < 0.0 else 1.0 - small
        slope = small * (1.0 - small)
        s0[j] = s
        s1[j] = slope
        s2[j] = slope * (1.0 - 2.0 * s)
        s3[j] = slope * (1.0 - 6.0 * slope)


@kernel()
def _softplus(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        e = math.exp(-abs(x))
        small = e / (1.0 + e)
        s = small if x < 0.0 else 1.0 - small
        slope = small * (1.0 - small)
        s0[j] = max(x, 0.0) + math.log1p(e)
        s1[j] = s
        s2[j] = slope
        s3[j] = slope * (1.0 - 2.0 * s)


@kernel()
def _relu(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        s0[j] = max(x, 0.0)
        s1[j] = 1.0 if x > 0.0 else 0.0
        s2[j] = 0.0
        s3[j] = 0.0


@kernel()
def _gelu(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        cdf = 0.5 * math.erfc(-x * _INV_SQRT_2)
        pdf = _INV_SQRT_2PI * math.exp(-0.5 * x * x)
        s0[j] = x * cdf
        s1[j] = cdf + x * pdf
        s2[j] = pdf * (2.0 - x * x)
        s3[j] = pdf * x * (x * x - 4.0)


@kernel()
def _erf(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        slope = _TWO_OVER_SQRT_PI * math.exp(-x * x)
        s0[j] = math.erf(x)
        s1[j] = slope
        s2[j] = -2.0 * x * slope
        s3[j] = slope * (4.0 * x * x - 2.0)


@kernel()
def _sin(z, s0, s1, s2, s3):
    for j in range(z.size):
        sine = math.sin(z[j])
        cosine = math.cos(z[j])
        s0[j] = sine
        s1[j] = cosine
        s2[j] = -sine
        s3[j] = -cosine


@kernel()
def _quadratic(z, s0, s1, s2, s3):
    for j in range(z.size):
        x = z[j]
        s0[j] = x * x
        s1[j] = 2.0 * x
        s2[j] = 2.0
        s3[j] = 0.0


@kernel()
def activate(code, z, s):
    """σ and its first three derivatives at the flat array z, into the first rows of s. `code` indexes ACTIVATIONS."""
    if code == 0:
        _tanh(z, s[0], s[1], s[2], s[3])
    elif code == 1:
        _relu(z, s[0], s[1], s[2], s[3])
    elif code == 2:
        _gelu(z, s[0], s[1], s[2], s[3])
    elif code == 3:
        _erf(z, s[0], s[1], s[2], s[3])
    elif code == 4:
        _sigmoid(z, s[0], s[1], s[2], s[3])
    elif code == 5:
        _softplus(z, s[0], s[1], s[2], s[3])
    elif code == 6:
        _sin(z, s[0], s[1], s[2], s[3])
    else:
        _quadratic(z, s[0], s[1], s[2], s[3])


@kernel()
def _add_product(scale, left, right, out):
    """out += scale · left @ right. (Loops rather than array expressions, which take numba seconds each to compile.)"""
    product = np.dot(left, right)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += scale * product[i, j]


@kernel()
def _add_outer(scale, r, a, out):
    """out[k, i] += scale · r_k·a_i, for r (n, c) and a (particles, c), c being small."""
    for k in range(r.shape[0]):
        for o in range(r.shape[1]):
            factor = scale * r[k, o]
            for i in range(a.shape[0]):
                out[k, i] += factor * a[i, o]


@kernel()
def _multiply(left, right, out):
    """out = left · right, entry by entry."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = left[i, j] * right[i, j]


@kernel()
def _add_multiplied(scale, left, right, out):
    """out += scale · left · right, entry by entry."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += scale * left[i, j] * right[i, j]


@kernel()
def _load_tile(code, order, inputs, particles, direction, n_outputs, tile):
    """Fill tile with σ, σ', σ'', σ‴ (rows 0 to 3) and, for order > 0, ż = inputs @ ẇ (row 4), each (n, particles)."""
    # A contiguous transpose: BLAS multiplies narrow tiles up to twice as fast as with a transposed view.
    weights = particles[:, n_outputs:].T.copy()
    z = np.dot(inputs, weights)
    activate(code, z.reshape(z.size), tile.reshape(tile.shape[0], z.size))
    if order > 0:
        weights = direction[:, n_outputs:].T.copy()
        np.dot(inputs, weights, tile[4])


@kernel()
def _add_network_tile(order, tile, a, da, total, k, m):
    """Add Σ_i a_i σ(z_i) over the particles of one tile, and its derivatives up to `order`, to total[:, k:m]."""
    _add_product(1.0, tile[0], a, total[0, k:m])
    if order == 0:
        return
    h_dot, h_dot_dot, dz = tile[1], tile[2], tile[4]
    _multiply(h_dot, dz, h_dot)
    _add_product(1.0, tile[0], da, total[1, k:m])
    _add_product(1.0, h_dot, a, total[1, k:m])
    if order == 2:
        _multiply(h_dot_dot, dz, h_dot_dot)
        _multiply(h_dot_dot, dz, h_dot_dot)
        _add_product(2.0, h_dot, da, total[2, k:m])
        _add_product(1.0, h_dot_dot, a, total[2, k:m])


@kernel()
def _add_gradient_tile(order, tile, a, da, r, k, m, grad_a, grad_z):
    """One tile's share of the m-th derivative, m = order, of Σ_k r_k σ(z_k), added to grad_a, and of s σ'(z), into grad_z.

    s = a·r; (s σ')˙ = ṡ σ' + s σ''ż; (s σ')˙˙ = s̈ σ' + 2 ṡ σ''ż + s σ‴ż². r[j] is the j-th derivative of r. The tile is used up.
    """
    h_dot, slope_dot, slope_dot_dot, dz = tile[1], tile[2], tile[3], tile[4]
    r0, r_last = r[0, k:m], r[order, k:m]
    _add_product(1.0, tile[0].T, r_last, grad_a)
    grad_z[:] = 0.0
    _add_outer(1.0, r_last, a, grad_z)
    if order > 0:
        _add_outer(float(order), r[order - 1, k:m], da, grad_z)
    _multiply(grad_z, tile[1], grad_z)
    if order == 0:
        return
    _multiply(tile[1], dz, h_dot)
    _multiply(slope_dot, dz, slope_dot)
    _add_product(float(order), h_dot.T, r[order - 1, k:m], grad_a)
    s = np.zeros_like(grad_z)
    _add_outer(1.0, r0, a, s)
    if order == 1:
        _add_multiplied(1.0, s, slope_dot, grad_z)
        return
    s_dot = np.zeros_like(grad_z)
    _add_outer(1.0, r[1, k:m], a, s_dot)
    _add_outer(1.0, r0, da, s_dot)
    _add_multiplied(2.0, s_dot, slope_dot, grad_z)
    _multiply(slope_dot_dot, dz, slope_dot_dot)
    _multiply(slope_dot_dot, dz, slope_dot_dot)
    _add_multiplied(1.0, s, slope_dot_dot, grad_z)
    _multiply(slope_dot, dz, slope_dot)  # now σ''ż², the second derivative of h
    _add_product(1.0, slope_dot.T, r0, grad_a)


@kernel()
def _network_block(code, order, particles, direction, n_outputs, inputs, total):
    """Sum of a σ(w·x) and its derivatives over some particles, into total (order + 1, n, c)."""
    total[:] = 0.0
    work = np.empty(5 * DATA_TILE * PARTICLE_TILE, total.dtype)
    for i in range(0, particles.shape[0], PARTICLE_TILE):
        j = min(i + PARTICLE_TILE, particles.shape[0])
        a, da = particles[i:j, :n_outputs].copy(), direction[i:j, :n_outputs].copy()
        for k in range(0, inputs.shape[0], DATA_TILE):
            m = min(k + DATA_TILE, inputs.shape[0])
            tile = work[: 5 * (m - k) * (j - i)].reshape(5, m - k, j - i)
            _load_tile(code, order, inputs[k:m], particles[i:j], direction[i:j], n_outputs, tile)
            _add_network_tile(order, tile, a, da, total, k, m)


@kernel()
def _gradient_block(code, order, particles, direction, n_outputs, inputs, r, gradient):
    """The m-th derivative of Σ_k r_k·∇_θ[a σ(w·x_k)] for some particles, into gradient (particles, D)."""
    gradient[:] = 0.0
    work = np.empty(6 * DATA_TILE * PARTICLE_TILE, gradient.dtype)
    for i in range(0, particles.shape[0], PARTICLE_TILE):
        j = min(i + PARTICLE_TILE, particles.shape[0])
        a, da = particles[i:j, :n_outputs].copy(), direction[i:j, :n_outputs].copy()
        for k in range(0, inputs.shape[0], DATA_TILE):
            m = min(k + DATA_TILE, inputs.shape[0])
            tile = work[: 6 * (m - k) * (j - i)].reshape(6, m - k, j - i)
            grad_a, grad_z = gradient[i:j, :n_outputs], tile[5]
            _load_tile(code, order, inputs[k:m], particles[i:j], direction[i:j], n_outputs, tile)
            _add_gradient_tile(order, tile, a, da, r, k, m, grad_a, grad_z)
            _add_product(1.0, grad_z.T, inputs[k:m], gradient[i:j, n_outputs:])


@kernel(parallel=True)
def network_jet(code, order, particles, direction, n_outputs, inputs, bounds, partials):
    """partials[b, j] = Σ over the particles of block b of d^j/dε^j [a σ(w·x)], j = 0, …, order.

    particles, direction (N, c + p); inputs (n, p); bounds (blocks + 1), block b being the particles bounds[b] to bounds[b + 1];
    partials (blocks, order + 1, n, c), overwritten. For order 0 the direction may be anything of its shape.
    """
    for block in numba.prange(len(bounds) - 1):
        i, j = bounds[block], bounds[block + 1]
        _network_block(
            code, order, particles[i:j], direction[i:j], n_outputs, inputs, partials[block]
        )


@kernel(parallel=True)
def gradient_jet(code, order, particles, direction, n_outputs, inputs, r, bounds, gradient):
    """gradient_i = d^m/dε^m Σ_k r_k·∇_θ[a_i σ(w_i·x_k)], m = order.

    particles, direction, gradient (N, c + p); inputs (n, p); r (order + 1, n, c): r and its derivatives along the direction;
    bounds (blocks + 1) as in `network_jet`: the last digits of a particle's gradient depend on the block that it is in.
    """
    for block in numba.prange(len(bounds) - 1):
        i, j = bounds[block], bounds[block + 1]
        _gradient_block(
            code, order, particles[i:j], direction[i:j], n_outputs, inputs, r, gradient[i:j]
        )
