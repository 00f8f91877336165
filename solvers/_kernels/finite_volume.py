"""Finite volumes for the kinetic equation on a grid of cells: rows along θ, columns along u.

The unknowns are the masses m (rows, columns) of the cells. Velocities are given on the faces, in cells per unit of time: `down`
(rows + 1, columns), from row to row, and `right` (rows, columns + 1), from column to column. With limited slopes s, the masses
per cell reconstructed at the two faces of a cell are m ± s/2; at each face the upwind value is transported:

    ṁ = (flux in) − (flux out),      flux = v⁺ (m + s/2)_before + v⁻ (m − s/2)_after − κ (m_after − m_before).

There is no flux across the boundary of the grid. What a cell loses its neighbour gains, so the total mass is conserved to
rounding.

Positivity. The slopes are limited to |s| ≤ 2 |difference to either neighbour|, and are 0 at extrema: where no mass is negative,
0 ≤ m ± s/2 ≤ 2m. In an explicit Euler step of length τ a cell loses through its two faces of one direction at most
τ (v₁ (m + s/2) + v₂ (m − s/2)) ≤ 2 τ m max(v₁, v₂), v₁ and v₂ being the velocities out of it, or 0; and by diffusion 2 τ κ m. It
stays at or above zero where

    τ · [ Σ over the directions of 2 max(v₁, v₂)  +  2 κ ]  ≤  1;

the largest bracket is `largest_loss_rate`. Runge–Kutta schemes that are convex combinations of Euler steps (SSP) inherit the
bound, with the velocities of every stage. Cells without mass do not count.

Reductions run along the rows of arrays, in one order.
"""

import numpy as np

from .jit import kernel

# The index of a name is the integer by which the compiled code selects the limiter.
LIMITERS = ("mc", "minmod", "upwind")

NEGLIGIBLE = 1e-32


@kernel
def _slopes(code, before, here, after, s):
    """Limited slopes from the differences to both neighbours; all 0 for "upwind", the scheme of first order."""
    for j in range(s.size):
        a, b = here[j] - before[j], after[j] - here[j]
        bound = min(abs(a), abs(b))
        if code == 0:
            bound = min(2.0 * bound, 0.5 * abs(a + b))
        if code == 2 or a * b <= 0.0:
            bound = 0.0
        s[j] = bound if a > 0.0 else -bound


@kernel
def _fluxes(v, diffusion, before, s_before, after, s_after, flux, power):
    """The mass that passes each face per unit of time, and, added to power, v · flux."""
    for j in range(v.size):
        upwind = max(v[j], 0.0) * (before[j] + 0.5 * s_before[j])
        upwind += min(v[j], 0.0) * (after[j] - 0.5 * s_after[j])
        flux[j] = upwind - diffusion * (after[j] - before[j])
        power[j] += v[j] * flux[j]


@kernel
def _collect(entering, leaving, rates):
    for j in range(rates.size):
        rates[j] += entering[j] - leaving[j]


@kernel
def mass_rates(code, diffusion, m, down, right, rates):
    """ṁ, into rates, with diffusion κ from row to row only; returns Σ v · flux over the faces `down` and over `right`."""
    rows, columns = m.shape
    rates[:] = 0.0
    power_down, power_right = np.zeros(columns), np.zeros(columns - 1)
    along, above, below = np.zeros(columns + 1), np.zeros(columns), np.zeros(columns)
    s, s_here, s_after = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    for i in range(rows):
        row = m[i]
        _slopes(code, row[:-2], row[1:-1], row[2:], s[1:-1])
        _fluxes(right[i, 1:-1], 0.0, row[:-1], s[:-1], row[1:], s[1:], along[1:-1], power_right)
        _collect(along[:-1], along[1:], rates[i])
        if i < rows - 2:
            _slopes(code, row, m[i + 1], m[i + 2], s_after)
        else:
            s_after[:] = 0.0
        if i < rows - 1:
            _fluxes(down[i + 1], diffusion, row, s_here, m[i + 1], s_after, below, power_down)
        else:
            below[:] = 0.0
        _collect(above, below, rates[i])
        above, below = below, above
        s_here, s_after = s_after, s_here
    return power_down.sum(), power_right.sum()


@kernel
def combine(share, old, new, dt, rates, out):
    """out = (1 − share) old + share (new + dt rates), a stage of a convex Runge–Kutta scheme.

    Values below NEGLIGIBLE become 0: tails would otherwise decay to denormal numbers, on which processors are slow. What is
    dropped is far below the rounding of the whole mass.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            mass = (1.0 - share) * old[i, j] + share * (new[i, j] + dt * rates[i, j])
            out[i, j] = 0.0 if abs(mass) < NEGLIGIBLE else mass


@kernel
def largest_loss_rate(diffusion, m, down, right):
    """Largest rate, over the cells with mass, that bounds what a cell loses per unit of time in proportion to its mass."""
    rows, columns = m.shape
    largest = np.zeros(columns)
    for i in range(rows):
        for j in range(columns):
            rate = max(max(down[i + 1, j], -down[i, j]), 0.0)
            rate += max(max(right[i, j + 1], -right[i, j]), 0.0)
            largest[j] = max(largest[j], rate if m[i, j] > 0.0 else 0.0)
    return 2.0 * (largest.max() + diffusion)


@kernel
def endpoint_laws(m, row_stride, column_stride, plus, minus):
    """The laws of θ + u and u − θ on their lattices: sums over the cells (i, j) of equal p i + q j, and p (rows − 1 − i) + q j.

    p, q: the spacings of rows and columns in units of that of the lattices.
    """
    rows, columns = m.shape
    plus[:] = 0.0
    minus[:] = 0.0
    for i in range(rows):
        k, k_minus = row_stride * i, row_stride * (rows - 1 - i)
        for j in range(columns):
            plus[k + column_stride * j] += m[i, j]
            minus[k_minus + column_stride * j] += m[i, j]


@kernel
def face_velocities(
    g_plus, g_minus, u, row_stride, column_stride, row_scale, column_scale, decay, down, right
):
    """Velocities of descent–ascent, θ̇ = −(η/2) (g₊ + g₋), u̇ = (η/2) (g₊ − g₋) − 2u, in cells per unit of time, on the faces.

    g± are given where faces can lie, half-way between the points of the lattices of `endpoint_laws`: with odd strides p and q
    every face does. Scales: (η/2) over the spacings of θ and u; decay: 2 over that of u; u (columns + 1) are the edges.
    """
    rows, columns = right.shape[0], down.shape[1]
    widest = max(row_stride, column_stride)
    row_shift, column_shift = (widest - row_stride) // 2, (widest - column_stride) // 2
    for i in range(rows + 1):
        k = row_stride * i + row_shift
        k_minus = row_stride * (rows - i) + row_shift
        for j in range(columns):
            sum_ = g_plus[k + column_stride * j] + g_minus[k_minus + column_stride * j]
            down[i, j] = -row_scale * sum_
    for i in range(rows):
        k = row_stride * i + column_shift
        k_minus = row_stride * (rows - 1 - i) + column_shift
        for j in range(columns + 1):
            difference = g_plus[k + column_stride * j] - g_minus[k_minus + column_stride * j]
            right[i, j] = column_scale * difference - decay * u[j]
