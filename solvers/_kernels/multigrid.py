"""A multigrid cycle for (κ + L) x = b on a box of cells, L the Laplacian of a lattice with given couplings.

Arrays have three axes, those without extent of length 1. The coupling w_k of a cell is that to the next cell along axis k, 0 at
the last one. Cells whose diagonal is 0 have x = 0.
"""

from .jit import kernel


@kernel
def relax(diagonal, w0, w1, w2, b, x, color):
    """A Gauss–Seidel update of the cells whose indices sum to color modulo 2."""
    # The sum over neighbours stands here and in `restrict`: in a function of its own it takes five times as long or more.
    n0, n1, n2 = x.shape
    for i in range(n0):
        before0, after0 = max(i - 1, 0), min(i + 1, n0 - 1)
        for j in range(n1):
            before1, after1 = max(j - 1, 0), min(j + 1, n1 - 1)
            for k in range((i + j + color) % 2, n2, 2):
                if diagonal[i, j, k] > 0.0:
                    total = w0[i, j, k] * x[after0, j, k]
                    total += w1[i, j, k] * x[i, after1, k]
                    total += w2[i, j, k] * x[i, j, min(k + 1, n2 - 1)]
                    if i > 0:
                        total += w0[before0, j, k] * x[before0, j, k]
                    if j > 0:
                        total += w1[i, before1, k] * x[i, before1, k]
                    if k > 0:
                        total += w2[i, j, k - 1] * x[i, j, k - 1]
                    x[i, j, k] = (b[i, j, k] + total) / diagonal[i, j, k]


@kernel
def restrict(diagonal, w0, w1, w2, b, x, coarse):
    """Sums of b − A x over blocks of two cells per axis."""
    coarse[:] = 0.0
    n0, n1, n2 = x.shape
    for i in range(n0):
        before0, after0 = max(i - 1, 0), min(i + 1, n0 - 1)
        for j in range(n1):
            before1, after1 = max(j - 1, 0), min(j + 1, n1 - 1)
            for k in range(n2):
                if diagonal[i, j, k] > 0.0:
                    total = w0[i, j, k] * x[after0, j, k]
                    total += w1[i, j, k] * x[i, after1, k]
                    total += w2[i, j, k] * x[i, j, min(k + 1, n2 - 1)]
                    if i > 0:
                        total += w0[before0, j, k] * x[before0, j, k]
                    if j > 0:
                        total += w1[i, before1, k] * x[i, before1, k]
                    if k > 0:
                        total += w2[i, j, k - 1] * x[i, j, k - 1]
                    rest = b[i, j, k] + total
                    coarse[i // 2, j // 2, k // 2] += rest - diagonal[i, j, k] * x[i, j, k]


@kernel
def prolong(coarse, diagonal, x):
    """Add the value of its block to each cell."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            for k in range(x.shape[2]):
                if diagonal[i, j, k] > 0.0:
                    x[i, j, k] += coarse[i // 2, j // 2, k // 2]


@kernel
def coarsen(fine, axis, coarse):
    """Sums over blocks; for axis ≥ 0, half the sums of the couplings along it that leave a block."""
    coarse[:] = 0.0
    for i in range(fine.shape[0]):
        for j in range(fine.shape[1]):
            for k in range(fine.shape[2]):
                inside = (axis == 0 and i % 2 == 0) or (axis == 1 and j % 2 == 0)
                inside = inside or (axis == 2 and k % 2 == 0)
                if not inside:
                    part = fine[i, j, k] if axis < 0 else 0.5 * fine[i, j, k]
                    coarse[i // 2, j // 2, k // 2] += part


@kernel
def diagonal_of(kappa, w0, w1, w2, out):
    """κ plus the couplings of each cell."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                total = kappa[i, j, k] + w0[i, j, k] + w1[i, j, k] + w2[i, j, k]
                if i > 0:
                    total += w0[i - 1, j, k]
                if j > 0:
                    total += w1[i, j - 1, k]
                if k > 0:
                    total += w2[i, j, k - 1]
                out[i, j, k] = total
