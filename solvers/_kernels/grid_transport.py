"""Transport of densities along the lines of a regular grid, at quadratic cost: from cells to the centers of cells.

The density of a cell is linear, (1 + r ξ)/h with ξ from −1 to 1 and a relative slope |r| ≤ 1. Every point x of it goes to the
site j (a center) that minimises (x − y_j)²/(2τ) − φ_j, so that a line is cut into intervals, one for each site of the lower
envelope of these parabolas. A *segment* is the part of a cell in such an interval: (cell, site, share of the cell's mass). A line
of n cells has at most 2n segments. At a cut in a cell the shares depend on φ with the slope ± link, where

    link = τ (1 + r ξ)/(h (y_k − y_j)),    j, k being the sites on both sides of the cut;

it is kept with the segment before the cut, and is 0 at segments that end with their cell.

Arrays are (lines, cells) or (lines, segments). φ = −∞ is a site that takes nothing.
"""

import numpy as np

from .jit import kernel

#: A rise of φ below this relative amount is rounding.
_ROUNDING = 1e-14


@kernel
def _cut(y, tau, phi, j, k):
    """Where the parabolas of the sites j < k meet."""
    return 0.5 * (y[j] + y[k]) - tau * (phi[k] - phi[j]) / (y[k] - y[j])


@kernel
def _envelope(y, tau, phi, sites, cuts):
    """The sites of the lower envelope, in order, and the upper ends of their intervals; returns their number."""
    count = 0
    for k in range(phi.size):
        if phi[k] == -np.inf:
            continue
        while count > 0:
            j = sites[count - 1]
            cut = _cut(y, tau, phi, j, k)
            if count > 1 and cut <= cuts[count - 2]:
                count -= 1
                continue
            cuts[count - 1] = cut
            break
        sites[count] = k
        count += 1
    return count


@kernel
def cut_lines(y, h, tau, phi, slopes, cells, sites, shares, links, counts, psi):
    """Fill the segments of all lines, and psi, the mean over each cell of min_j (x − y_j)²/(2τ) − φ_j, less h²/(24τ).

    psi is +∞ on a line without sites.
    """
    lines, n = phi.shape
    stack, cuts = np.empty(n, np.int32), np.empty(n)
    own = h * h / 12.0
    for line in range(lines):
        potential = phi[line]
        number = _envelope(y, tau, potential, stack, cuts)
        counts[line] = 0
        if number == 0:
            psi[line, :] = np.inf
            continue
        cuts[number - 1] = np.inf
        at, s = 0, 0
        for i in range(n):
            r = slopes[line, i]
            center = y[i]
            xi = -1.0
            while cuts[at] <= center - 0.5 * h:
                at += 1
            square, gain = -own, 0.0
            while True:
                j = stack[at]
                end = 2.0 * (cuts[at] - center) / h
                whole = end >= 1.0
                if whole:
                    end = 1.0
                a2, b2 = xi * xi, end * end
                share = 0.5 * (end - xi) + 0.25 * r * (b2 - a2)
                first = 0.25 * (b2 - a2) + r * (b2 * end - a2 * xi) / 6.0
                second = (b2 * end - a2 * xi) / 6.0 + 0.125 * r * (b2 * b2 - a2 * a2)
                distance = center - y[j]
                square += distance * (distance * share + h * first) + 0.25 * h * h * second
                gain += share * potential[j]
                cells[line, s], sites[line, s], shares[line, s] = i, j, share
                if whole:
                    links[line, s] = 0.0
                    s += 1
                    break
                links[line, s] = tau * (1.0 + r * end) / (h * (y[stack[at + 1]] - y[j]))
                s += 1
                xi = end
                at += 1
            psi[line, i] = square / (2.0 * tau) - gain
        counts[line] = s


@kernel
def push(cells, sites, shares, counts, masses, out):
    """The masses (lines, cells) at the sites."""
    out[:] = 0.0
    for line in range(out.shape[0]):
        for s in range(counts[line]):
            out[line, sites[line, s]] += shares[line, s] * masses[line, cells[line, s]]


@kernel
def pull(cells, sites, shares, counts, values, out):
    """The mean over each cell of values (lines, cells) at the sites; the adjoint of `push`."""
    out[:] = 0.0
    for line in range(out.shape[0]):
        for s in range(counts[line]):
            out[line, cells[line, s]] += shares[line, s] * values[line, sites[line, s]]


@kernel
def _ends(y, h, tau, phi, cells, sites, count, s):
    """The interval of segment s of a line."""
    left, right = y[cells[s]] - 0.5 * h, y[cells[s]] + 0.5 * h
    if s > 0 and cells[s - 1] == cells[s]:
        left = _cut(y, tau, phi, sites[s - 1], sites[s])
    if s + 1 < count and cells[s + 1] == cells[s]:
        right = _cut(y, tau, phi, sites[s], sites[s + 1])
    return left, right


@kernel
def _couple(y, tau, phi, x, site, end, reach, coupling, out):
    """Couple the site of x with those up to the furthest, towards `end`, that x would go to if φ rose there by the reach."""
    most = (x - y[site]) ** 2 / (2.0 * tau) - phi[site] + reach
    step = 1 if end > site else -1
    j = end
    while j != site and (x - y[j]) ** 2 / (2.0 * tau) - phi[j] > most:
        j -= step
    for k in range(min(j, site), max(j, site)):
        out[k] = max(out[k], coupling)


@kernel
def couplings(y, h, tau, phi, cells, sites, shares, links, counts, masses, reach, out):
    """Couplings c_j of sites j and j + 1, for `add_stiffness`.

    Sites that take nothing are coupled in series between those on both sides of a cut. Where mass ends, it couples the sites that
    would take some of it if φ rose there by the reach, by τ/h² times the mass of the cell: the slope with which they would.
    """
    out[:] = 0.0
    unit, (lines, n) = tau / (h * h), out.shape
    for line in range(lines):
        potential, coupled = phi[line], out[line]
        before, edge, weight = -1, 0.0, 0.0
        for s in range(counts[line]):
            cell, site = cells[line, s], sites[line, s]
            mass = masses[line, cell]
            if not (mass > 0.0 and shares[line, s] > 0.0):
                continue
            last = sites[line, before] if before >= 0 else 0
            left, right = _ends(y, h, tau, potential, cells[line], sites[line], counts[line], s)
            if before >= 0 and cells[line, before] == cell:
                coupled[last:site] = (site - last) * links[line, before] * mass
            else:
                _couple(y, tau, potential, left, site, last, reach, unit * mass, coupled)
                if before >= 0:
                    _couple(y, tau, potential, edge, last, site, reach, weight, coupled)
            before, edge, weight = s, right, unit * mass
        if before >= 0:
            last = sites[line, before]
            _couple(y, tau, potential, edge, last, n - 1, reach, weight, coupled)


@kernel
def _append(x, values, count, point, value):
    """Append a point, or, at the point before, keep the lesser value; returns the number of points."""
    if count > 0 and point <= x[count - 1]:
        values[count - 1] = min(values[count - 1], value)
        return count
    x[count], values[count] = point, value
    return count + 1


@kernel
def _bounds_of_cells(y, h, tau, phi, slack, stack, cuts, x, values):
    """Increasing points x, the ends of cells of finite slack and the cuts in them, and at each the least of
    max_j φ_j − (x − y_j)²/(2τ) + slack over the cells around it; returns their number.

    Between two of them that is a linear function of x less x²/(2τ).
    """
    number, count, at = _envelope(y, tau, phi, stack, cuts), 0, 0
    cuts[number - 1] = np.inf
    for i in range(y.size):
        if slack[i] == np.inf:
            continue
        point, end = y[i] - 0.5 * h, y[i] + 0.5 * h
        while cuts[at] <= point:
            at += 1
        while True:
            j = stack[at]
            value = phi[j] - (point - y[j]) ** 2 / (2.0 * tau) + slack[i]
            count = _append(x, values, count, point, value)
            if not cuts[at] < end:
                break
            point = cuts[at]
            at += 1
        value = phi[j] - (end - y[j]) ** 2 / (2.0 * tau) + slack[i]
        count = _append(x, values, count, end, value)
    return count


@kernel
def slacks(y, h, tau, phi, before, out):
    """By how much φ may rise at each site so that −min_j (x − y_j)²/(2τ) − φ_j rises at most by `before` in each cell.

    before (lines, cells) is 0 in cells that hold mass, +∞ where anything may happen. At sites that then still touch no cell the
    largest φ is that of the second transform, min over x of (x − y_j)²/(2τ) + max_k φ_k − (x − y_k)²/(2τ) + before; rises that
    rounding may have caused are 0. +∞ on lines where all of before is.
    """
    lines, n = out.shape
    stack, cuts = np.empty(n, np.int32), np.empty(n)
    x, values = np.empty(3 * n + 1), np.empty(3 * n + 1)
    points, ends = np.empty(3 * n + 1, np.int32), np.empty(3 * n + 1)
    for line in range(lines):
        potential = phi[line]
        if not np.any(before[line] < np.inf) or not np.any(potential > -np.inf):
            out[line, :] = np.inf
            continue
        count = _bounds_of_cells(y, h, tau, potential, before[line], stack, cuts, x, values)
        number, at = _envelope(x[:count], tau, -values[:count], points, ends), 0
        ends[number - 1] = np.inf
        for j in range(n):
            while ends[at] < y[j]:
                at += 1
            k = points[at]
            square = (x[k] - y[j]) ** 2 / (2.0 * tau)
            rise = square + values[k] - potential[j]
            rounding = _ROUNDING * (square + abs(values[k]) + abs(potential[j]))
            out[line, j] = rise if potential[j] > -np.inf and rise > rounding else 0.0


@kernel
def add_stiffness(couplings, values, out):
    """Add to out the derivative of `push` along values of φ, Σ_j c_j (v_j − v_{j+1}) (e_j − e_{j+1})."""
    lines, n = out.shape
    for line in range(lines):
        for j in range(n - 1):
            flux = couplings[line, j] * (values[line, j + 1] - values[line, j])
            out[line, j] -= flux
            out[line, j + 1] += flux


@kernel
def limited_slopes(masses, slopes):
    """Relative slopes r of the cells' densities by the monotonised central limiter; 0 at extrema and at the ends of a line."""
    lines, n = masses.shape
    for line in range(lines):
        slopes[line, 0] = 0.0
        slopes[line, n - 1] = 0.0
        for i in range(1, n - 1):
            a, b = masses[line, i] - masses[line, i - 1], masses[line, i + 1] - masses[line, i]
            r = 0.0
            if a * b > 0.0:
                size = min(2.0 * min(abs(a), abs(b)), 0.5 * abs(a + b))
                r = 0.5 * min(size / masses[line, i], 2.0)
                if a < 0.0:
                    r = -r
            slopes[line, i] = r


@kernel
def squared_lengths(y, cells, sites, shares, counts, masses):
    """Σ of mass times the squared distance between the centers of the cell and the site of each segment."""
    total = 0.0
    for line in range(masses.shape[0]):
        for s in range(counts[line]):
            i = cells[line, s]
            total += masses[line, i] * shares[line, s] * (y[i] - y[sites[line, s]]) ** 2
    return total


@kernel
def envelope_lines(y, tau, phi, x, out):
    """min_j (x_i − y_j)²/(2τ) − φ_j at increasing points x of each line; +∞ on a line without sites."""
    lines, n = phi.shape
    stack, cuts = np.empty(n, np.int32), np.empty(n)
    for line in range(lines):
        potential = phi[line]
        number = _envelope(y, tau, potential, stack, cuts)
        if number == 0:
            out[line, :] = np.inf
            continue
        cuts[number - 1] = np.inf
        at = 0
        for i in range(x.size):
            while cuts[at] < x[i]:
                at += 1
            j = stack[at]
            out[line, i] = (x[i] - y[j]) ** 2 / (2.0 * tau) - potential[j]


@kernel
def squared_line_distances(edges, before, after):
    """Σ over lines of mass times W2² between densities constant in cells, whose masses per line are equal up to rounding."""
    lines, n = before.shape
    total = 0.0
    for line in range(lines):
        i, j = 0, 0
        a, b = before[line, 0], after[line, 0]  # what is left of the masses of cells i and j
        while True:
            while a <= 0.0 and i < n - 1:
                i += 1
                a = before[line, i]
            while b <= 0.0 and j < n - 1:
                j += 1
                b = after[line, j]
            if a <= 0.0 or b <= 0.0:
                break
            mass = min(a, b)
            wide, broad = edges[i + 1] - edges[i], edges[j + 1] - edges[j]
            x = edges[i + 1] - wide * (a / before[line, i])
            y = edges[j + 1] - broad * (b / after[line, j])
            left = x - y
            right = left + wide * (mass / before[line, i]) - broad * (mass / after[line, j])
            total += mass * (left * left + left * right + right * right) / 3.0
            a, b = a - mass, b - mass
    return total


@kernel
def envelope_sites(y, tau, phi, x, out):
    """Which site j has the least (x_i − y_j)²/(2τ) − φ_j, at increasing points x of each line; 0 on a line without sites."""
    lines, n = phi.shape
    stack, cuts = np.empty(n, np.int32), np.empty(n)
    for line in range(lines):
        number = _envelope(y, tau, phi[line], stack, cuts)
        if number == 0:
            out[line, :] = 0
            continue
        cuts[number - 1] = np.inf
        at = 0
        for i in range(x.size):
            while cuts[at] < x[i]:
                at += 1
            out[line, i] = stack[at]
